"""`make demo`: a project with default answers, in which one step was trained.

python tools/demo.py FOLDER
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
STATE = Path(".ml-template")
MARK = STATE / "demo"
REPORT = STATE / "setup-report.json"
STEPS = ("setup", "doctor", "smoke")


def main() -> int:
    """Generate with all hooks on; 0 when each of them did its work."""
    folder = Path(sys.argv[1]).absolute()
    if folder.exists() and not (folder.is_dir() and clear(folder)):
        print(
            f"error: {folder} is there and is no demo; name another folder: make demo DEMO_DIR=…",
            file=sys.stderr,
        )
        return 2
    # Made before Copier runs, which removes a folder of its own when a step fails.
    (folder / MARK).parent.mkdir(parents=True)
    (folder / MARK).write_text("made by `make demo`, which may replace this folder\n", "utf-8")

    started = time.monotonic()
    # The newest tag would be taken otherwise; the demo shows the files as they are here.
    copy = ["copier", "copy", "--trust", "--defaults", "--vcs-ref", "HEAD"]
    print(f"$ {' '.join(copy)} . {sys.argv[1]}", flush=True)
    command = [sys.executable, "-m", *copy, "--quiet", str(ROOT), str(folder)]
    environment = {**os.environ, "ML_TEMPLATE_HOOKS": "all"}
    status = subprocess.run(command, env=environment, check=False).returncode
    failed = status != 0 or not all_done(folder)
    print(f"demo: {'failed' if failed else 'done'} in {time.monotonic() - started:.0f} s")
    return 1 if failed else 0


def clear(folder: Path) -> bool:
    """Remove an earlier demo; whether the folder is free."""
    if (folder / MARK).is_file():
        shutil.rmtree(folder)
        return True
    return not any(folder.iterdir())


def all_done(folder: Path) -> bool:
    """Whether the hooks' report names every step and none of them failed."""
    try:
        report = json.loads((folder / REPORT).read_text("utf-8"))
    except (OSError, ValueError):
        return False
    return {step["name"] for step in report if step["status"] == "ok"} >= set(STEPS)


if __name__ == "__main__":
    sys.exit(main())
