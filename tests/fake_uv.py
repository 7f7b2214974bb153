"""A machine whose uv installs nothing, for the tests of setting up an environment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from machine_scripts import executable

# Acts as uv: notes its arguments and settings, makes real environments, installs nothing.
FAKE_UV = f"""#!{sys.executable}
import json, os, subprocess, sys, time
args = sys.argv[1:]
if args == ["--version"]:
    print("uv 0.13.9")
    sys.exit()
seen = {{k: v for k, v in os.environ.items() if k.startswith(("UV_", "SSL_", "HTTPS_"))}}
with open(os.environ["FAKE_UV_LOG"], "a") as log:
    log.write(json.dumps([args, seen]) + "\\n")
if args[0] == "venv":
    venv = [sys.executable, "-m", "venv", "--without-pip", args[-1]]
    sys.exit(subprocess.run(venv).returncode)
if "--dry-run" in args:
    print(os.environ.get("FAKE_UV_DRY_RUN", "Would install 1 package\\n + torch==2.13.0"))
elif os.environ.get("FAKE_UV_HANGS"):
    open(os.environ["FAKE_UV_HANGS"], "w").close()
    time.sleep(60)
elif os.environ.get("FAKE_UV_FAILS"):
    print(os.environ["FAKE_UV_FAILS"], file=sys.stderr)
    sys.exit(2)
else:
    print("Installed 1 package in 1ms")
"""


class Machine:
    """A machine with a fake uv and no configuration of pip or uv; runs setup_env.py on it."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "uv.log"
        self.env = {
            "PATH": f"{folder / 'bin'}{os.pathsep}/usr/bin{os.pathsep}/bin",
            "HOME": str(folder / "home"),
            "PIP_CONFIG_FILE": os.devnull,
            "FAKE_UV_LOG": str(self.log),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        executable(folder / "bin" / "uv", FAKE_UV)

    def start(self, project: Path, *arguments: str, **env: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "scripts/setup_env.py", *arguments],
            cwd=project,
            env=self.env | env,
            stderr=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # as a terminal does: Ctrl-C reaches all of them
        )

    def run(self, project: Path, *arguments: str, code: int = 0, **env: str) -> str:
        process = self.start(project, *arguments, **env)
        _, stderr = process.communicate(timeout=60)
        assert process.returncode == code, stderr
        assert "Traceback" not in stderr
        return stderr

    def calls(self, verb: str = "pip") -> list[tuple[list[str], dict[str, str]]]:
        """What uv was asked; dry runs apart."""
        lines = self.log.read_text("utf-8").splitlines() if self.log.exists() else []
        found = [json.loads(line) for line in lines]
        return [(args, env) for args, env in found if args[0] == verb and "--dry-run" not in args]


def report(project: Path) -> dict[str, Any]:
    """What the project's set-up wrote of itself."""
    entries = json.loads((project / ".ml-template/setup-report.json").read_text("utf-8"))
    found: list[dict[str, Any]] = [entry for entry in entries if entry["name"] == "setup"]
    return found[0]
