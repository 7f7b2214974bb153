"""Resolve the tested versions again: `python locks/refresh.py` (needs uv; `--upgrade` for newest).

For each framework_<name>.in, one resolution for all platforms and Pythons, of all groups together
but the other frameworks', is written to <name>.txt. A release stays until `--upgrade` or a changed
range moves it. The index is the one that uv, or else pip, is configured for.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

LOCKS = Path(__file__).resolve().parent
OLDEST_PYTHON = "3.11"
FRAMEWORK = "framework_"
HEADER = "# The tested versions of every choice. Written by: python locks/refresh.py\n"

# PyTorch's CUDA wheel pins these itself. Left to it, a CPU build does not drag them in.
GPU_RUNTIME = re.compile(r"(?:nvidia-|cuda-|triton==)")


def main(argv: Sequence[str] | None = None) -> int:
    """Write one lock a framework; return uv's exit status if it fails."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--upgrade", action="store_true", help="take the newest releases")
    options = parser.parse_args(argv)
    uv = shutil.which("uv")
    if uv is None:
        print("error: uv is not installed; run: python -m pip install uv", file=sys.stderr)
        return 1
    for framework in sorted(LOCKS.glob(f"{FRAMEWORK}*.in")):
        status = resolve(uv, framework, upgrade=options.upgrade)
        if status:
            return status
    return 0


def resolve(uv: str, framework: Path, upgrade: bool) -> int:
    """Resolve one framework with all choices; return uv's exit status."""
    lock = LOCKS / f"{framework.stem.removeprefix(FRAMEWORK)}.txt"
    groups = [
        path.name
        for path in sorted(LOCKS.glob("*.in"))
        if not path.name.startswith(FRAMEWORK) or path == framework
    ]
    command = [uv, "pip", "compile", *groups, "--constraints", "constraints.txt"]
    command += ["--universal", "--python-version", OLDEST_PYTHON, "--quiet"]
    command += ["--no-header", "--no-emit-index-url", "--no-emit-find-links"]
    command += ["--output-file", lock.name]
    if upgrade:
        command.append("--upgrade")
    status = subprocess.run(command, cwd=LOCKS, env=environment(), check=False).returncode
    if status == 0:
        lock.write_text(HEADER + tidy(lock.read_text("utf-8")), "utf-8", newline="\n")
        print(f"{lock.name}: {len(re.findall(r'(?m)^[a-z0-9]', lock.read_text('utf-8')))} pins")
    return status


def environment() -> dict[str, str]:
    """Return the environment for uv, with pip's index where uv has none of its own.

    Folders of wheels (find-links) are left out: a local build of PyTorch in one of them would
    become a second pin.
    """
    env = {key: value for key, value in os.environ.items() if key != "UV_FIND_LINKS"}
    own = ("UV_INDEX", "UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL", "UV_CONFIG_FILE")
    if any(env.get(key) for key in own):
        return env
    pip = pip_configuration()
    if "index-url" in pip:
        env["UV_DEFAULT_INDEX"] = pip["index-url"]
    if "extra-index-url" in pip:
        env["UV_EXTRA_INDEX_URL"] = pip["extra-index-url"]
        env["UV_INDEX_STRATEGY"] = "unsafe-best-match"  # as pip does: the newest of all indexes
    return env


def pip_configuration() -> dict[str, str]:
    """Return pip's effective settings by option name; empty where pip is absent."""
    command = [sys.executable, "-m", "pip", "config", "list", "--disable-pip-version-check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found: dict[str, str] = {}
    for line in done.stdout.splitlines():
        match = re.fullmatch(r"(:env:|global|install|user|site)\.([\w-]+)=(.*)", line.strip())
        if match:
            found[match[2]] = " ".join(match[3].strip("'\"").replace("\\n", " ").split())
    return found


def tidy(lock: str) -> str:
    """Return a lock without the GPU runtime's pins and without its own header."""
    blocks = re.split(r"(?m)^(?=[A-Za-z0-9])", lock)
    return "".join(block for block in blocks[1:] if not GPU_RUNTIME.match(block))


if __name__ == "__main__":
    sys.exit(main())
