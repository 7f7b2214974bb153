"""Resolve the newest releases of all packages here, to see early what they break.

python tools/newest.py             within the ranges of locks/*.in and requirements-dev.in
python tools/newest.py --beyond    without their upper bounds

It changes the ranges and locks of this checkout, for a throw-away one, and prints what moved.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).resolve().parents[1]
_PIN = re.compile(r"^([A-Za-z0-9][\w.-]*)(?:\[[^]]*\])?==([^\s;\\]+)", re.MULTILINE)


def main(arguments: list[str] | None = None) -> int:
    """Resolve, print the changed pins as Markdown, and return the resolver's status."""
    parser = argparse.ArgumentParser(description="Resolve the newest releases of all packages.")
    parser.add_argument("--beyond", action="store_true", help="ignore the ranges' upper bounds")
    options = parser.parse_args(arguments)
    before = pins()
    if options.beyond:
        for path in ranges():
            path.write_text(unbounded(path.read_text("utf-8")), "utf-8", newline="\n")
    for command in ("locks/refresh.py", "tools/lock_tools.py"):
        status = subprocess.run(
            [sys.executable, command, "--upgrade"], cwd=ROOT, stdout=sys.stderr, check=False
        ).returncode
        if status:
            print("The newest releases cannot be installed together; see the resolver's message.")
            return status
    print(changes(before, pins()))
    return 0


def ranges() -> list[Path]:
    """Return the files of ranges, and of what is held back."""
    locks = ROOT / "locks"
    return [*sorted(locks.glob("*.in")), locks / "constraints.txt", ROOT / "requirements-dev.in"]


def unbounded(text: str) -> str:
    """Return requirements without upper bounds; comments, options and markers stay."""
    return "".join(_unbounded(line) for line in text.splitlines(keepends=True))


def _unbounded(line: str) -> str:
    text, hash_mark, comment = line.partition("#")
    if not text.strip() or text.startswith("-"):
        return line
    requirement = Requirement(text.strip())
    kept = [bound for bound in requirement.specifier if bound.operator in (">", ">=", "!=")]
    requirement.specifier = SpecifierSet(",".join(map(str, kept)))
    return f"{requirement}{'  ' if comment else ''}{hash_mark}{comment or chr(10)}"


def pins() -> dict[str, str]:
    """Return the locked version of each package."""
    frameworks = sorted((ROOT / "locks").glob("framework_*.in"))
    names = [f"locks/{path.stem.removeprefix('framework_')}.txt" for path in frameworks]
    texts = [(ROOT / name).read_text("utf-8") for name in (*names, "requirements-dev.txt")]
    return {name: version for text in texts for name, version in _PIN.findall(text)}


def changes(before: dict[str, str], after: dict[str, str]) -> str:
    """Return a Markdown table of the pins that moved, came or went."""
    moved = sorted(name for name in before | after if before.get(name) != after.get(name))
    if not moved:
        return "No pin moved: every package is at its newest release."
    rows = [f"| {name} | {before.get(name, '')} | {after.get(name, '')} |" for name in moved]
    return "\n".join(["| package | tested | newest |", "|---|---|---|", *rows])


if __name__ == "__main__":
    sys.exit(main())
