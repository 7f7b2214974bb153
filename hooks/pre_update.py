"""Before `copier update` touches the project: refuse what it would do wrong, in one sentence.

python …/hooks/pre_update.py
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import git_commands
import merge_report


def main() -> int:
    """Return 1 with a sentence, and Copier stops before anything is written."""
    problem = refusal(Path.cwd())
    if problem:
        print(f"error: {problem} Nothing was changed.", file=sys.stderr, flush=True)
        return 1
    return 0


def refusal(project: Path) -> str:
    """Return why this project cannot be updated as it is; empty when it can."""
    if left := merge_report.conflicted(project):
        return (
            f"{left[0]} still holds conflict marks of an earlier update: resolve them, commit, "
            "and update again."
        )
    names = git_commands.listed(project, "ls-files", "-z")
    if odd := [name for name in names if re.search("[\udc80-\udcff]", name)]:
        return (
            f"The name of {odd[0]!a} is not UTF-8, and Copier stops at it: give the file "
            "another (git mv), commit, and update again."
        )
    return moved_package(project)


def moved_package(project: Path) -> str:
    """Return a sentence where the package lies elsewhere than the answers say."""
    path = project / merge_report.ANSWERS_FILE
    answers = path.read_text("utf-8") if path.is_file() else ""  # copier update -a FILE
    stored = re.search(r"(?m)^package_name: ['\"]?([\w-]+)['\"]?\s*$", answers)
    if stored is None or (project / "src" / stored[1]).is_dir():
        return ""
    others = sorted(path.parent.name for path in (project / "src").glob("*/__init__.py"))
    if len(others) != 1:
        return ""
    return (
        f"src/{stored[1]} is not there; if src/{others[0]} is that package under another name, "
        f"write `package_name: {others[0]}` into {merge_report.ANSWERS_FILE}, commit, and update "
        "again."
    )


if __name__ == "__main__":
    sys.exit(main())
