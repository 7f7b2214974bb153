"""Make `.venv` with the pinned packages. Run again at any time: it goes on where it stopped.

python scripts/setup_env.py
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import re
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from machine import environments, nvidia, steps, torch_build
from machine.environments import Project
from machine.install_errors import AGAIN, SetupError, of_system
from machine.packages import Installer, byte_compile

ROOT = Path(__file__).resolve().parent.parent
RUNNING = "setup.running"
TOOLS = ("uv", "venv", "conda")


@dataclass(frozen=True)
class Settings:
    """What pyproject.toml and requirements.txt say."""

    tool: str
    python: str
    requirements: str  # sha256
    torch: str  # the pinned version; empty without PyTorch


def main() -> int:
    """Set up; record the step; return 0 if `.venv` is ready."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--force", action="store_true", help="make .venv anew")
    force = parser.parse_args().force
    started = time.monotonic()

    def record(status: str, message: str, remedy: str = "") -> None:
        with contextlib.suppress(OSError):  # a full disk, for one; what failed was printed
            steps.record(ROOT, "setup", status, time.monotonic() - started, message, remedy)

    try:
        message = set_up(ROOT, force)
    except (SetupError, OSError) as error:
        failure = of_system(error) if isinstance(error, OSError) else error
        print(f"error: {failure}.\n  {failure.remedy}.", file=sys.stderr)
        record("failed", str(failure), failure.remedy)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted; `make setup` goes on from here.", file=sys.stderr)
        record("failed", "interrupted", "run `make setup` again; it goes on from there")
        return 1
    say(f"{message} ({time.monotonic() - started:.0f} s)")
    record("ok", message)
    return 0


def say(message: str) -> None:
    """Print one line of progress."""
    print(f"setup: {message}", file=sys.stderr, flush=True)


def set_up(root: Path, force: bool = False) -> str:
    """Bring `.venv` to what requirements.txt pins; return what was done."""
    settings = read_settings(root)
    project = Project(root, settings.python)
    if os.path.lexists(project.venv) and not project.venv.is_dir():
        raise SetupError(".venv is in the way: it is no folder", f"remove it, {AGAIN}")
    stamp = read_stamp(project)
    build = choose_build(settings, stamp)
    wanted = {
        "requirements": settings.requirements,
        "tool": settings.tool,
        "torch": build.backend,
    }
    installed = environments.inspect(project)
    if installed and not force and stamp == {**wanted, "python": installed.version}:
        return "nothing to do, .venv has what requirements.txt pins"

    running = root / steps.STATE / RUNNING
    interrupted = running.exists()
    other_tool = bool(stamp) and stamp.get("tool") != settings.tool
    anew = force or interrupted or other_tool or installed is None
    if interrupted:
        say("the last installation was interrupted; making .venv anew")
    steps.write_atomically(running, "")
    if anew and (interrupted or stamp):
        environments.clear(project)
    try:
        installer = Installer.of(project, settings.tool, settings.torch, say)
        if installed is None or anew:
            installed = installer.create()
        if settings.torch:
            say(f"for this machine: PyTorch {build.backend or 'as it is'} ({build.reason})")
        if build.remedy:
            say(f"note: {build.remedy}")
        other_build = bool(stamp) and stamp.get("torch") != build.backend
        installer.install(installed, build.backend, other_build)
    except SetupError:
        # The installers resolve and download before they change anything, so an environment
        # that worked still does; a new one stays marked as half made.
        if not anew:
            running.unlink()
        raise
    running.unlink()
    say("byte-compiling, so that imports are quick")
    byte_compile(project, installed)
    stamp_text = json.dumps({**wanted, "python": installed.version})
    steps.write_atomically(project.venv / steps.STAMP, stamp_text + "\n")
    return f"Python {installed.version} and the pinned packages are in .venv"


def read_settings(root: Path) -> Settings:
    """Read the choice of tool, the Python range and the pins."""
    try:
        text = (root / "pyproject.toml").read_text(encoding="utf-8")
        import tomllib  # 3.11; `machine` has checked the version

        pyproject: dict[str, Any] = tomllib.loads(text)
        pins = (root / "requirements.txt").read_bytes()
    except FileNotFoundError as error:
        name = Path(error.filename).name
        raise SetupError(f"{name} is missing", f"restore it (`git checkout {name}`)") from error
    except ValueError as error:
        raise SetupError(f"pyproject.toml cannot be read ({error})", "mend that line") from error
    if b"\n<<<<<<< " in b"\n" + pins:
        raise SetupError("requirements.txt has conflicts", f"run `make lock`, {AGAIN}")
    tool = _table(_table(pyproject, "tool"), "ml-template").get("environment", "uv")
    if tool not in TOOLS:
        raise SetupError(
            f"pyproject.toml says [tool.ml-template] environment = {tool!r}",
            f"write one of {', '.join(TOOLS)}",
        )
    python = str(_table(pyproject, "project").get("requires-python", ">=3.11,<3.14"))
    torch = re.search(rb"(?m)^torch==([\d.]+)", pins)
    return Settings(
        tool, python, hashlib.sha256(pins).hexdigest(), torch[1].decode() if torch else ""
    )


def _table(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    table = document.get(name, {})
    if not isinstance(table, Mapping):
        raise SetupError(f"pyproject.toml has {name} as a value", f"write a table, {AGAIN}")
    return table


def read_stamp(project: Project) -> dict[str, Any]:
    """Return what the last finished installation wrote; empty if none did."""
    try:
        stamp = json.loads((project.venv / steps.STAMP).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return stamp if isinstance(stamp, dict) else {}


def choose_build(settings: Settings, stamp: Mapping[str, Any]) -> torch_build.TorchChoice:
    """Choose the PyTorch build for this machine; the user's UV_TORCH_BACKEND decides first."""
    if not settings.torch:
        return torch_build.TorchChoice(None, "no PyTorch in this project")
    if chosen := os.environ.get("UV_TORCH_BACKEND"):
        return torch_build.TorchChoice(chosen, "UV_TORCH_BACKEND")
    driver = nvidia.detect()
    if driver and driver.problem and "torch" in stamp:
        return torch_build.TorchChoice(stamp["torch"], "as installed; the driver does not answer")
    return torch_build.choose(
        driver,
        settings.torch,
        visible=os.environ.get("CUDA_VISIBLE_DEVICES"),
        amd=nvidia.amd_gpu(),
    )


if __name__ == "__main__":
    sys.exit(main())
