"""Pin this repository's own tools: requirements-dev.in to requirements-dev.txt (needs uv).

python tools/lock_tools.py [--upgrade]
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from locks.refresh import OLDEST_PYTHON, environment  # noqa: E402

SOURCE, LOCK = "requirements-dev.in", "requirements-dev.txt"
HEADER = f"# The tested versions of this repository's tools. Written from {SOURCE} by: make lock\n"


def main() -> int:
    """Resolve for all platforms and Pythons; a release stays unless `--upgrade` is given."""
    command = ["uv", "pip", "compile", SOURCE, "--output-file", LOCK, "--quiet"]
    command += ["--universal", "--python-version", OLDEST_PYTHON, "--no-header"]
    command += ["--no-emit-index-url", "--no-emit-find-links", *sys.argv[1:]]
    status = subprocess.run(command, cwd=ROOT, env=environment(), check=False).returncode
    if status == 0:
        lock = ROOT / LOCK
        lock.write_text(HEADER + lock.read_text("utf-8"), "utf-8", newline="\n")
    return status


if __name__ == "__main__":
    sys.exit(main())
