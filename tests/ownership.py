"""Whose file is whose: as a project's README says it in a table, and as its files say it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

YOURS, TEMPLATES = "yours", "the template's: `make update` maintains them"
MARK = "`make update` maintains"
MARK_OF_SCRIPTS = f"{MARK} this file and scripts/."
# Where a folder says it: a package's docstring, a fixture file's, the file that one begins with.
INDEX_FILES = ("__init__.py", "conftest.py", "kustomization.yaml", "compose.yaml")
# Said in the README alone: texts, what takes no comment, and what is copied to become the user's.
ONLY_IN_README = ("docs/", "models/", "LICENSE", "NOTICE", ".env.example")


def table(readme: str) -> dict[str, str]:
    """Return whose each path, or pattern of paths, is: `src/` stands for all below it."""
    rows = re.findall(r"(?m)^\| (.*`.*) \| (yours|the template's.*|written by .*) \|$", readme)
    found: dict[str, str] = {}
    for files, owner in rows:
        for written in re.findall(r"`([^`]+)`", files):
            before, _, rest = written.partition("{")
            names, _, after = rest.partition("}")
            found |= {before + name + after: owner for name in names.split(",")}
    return found


def covers(pattern: str, name: str) -> bool:
    """Whether a pattern of the table speaks of a file."""
    begins = pattern.endswith(("/", "*"))
    return name.startswith(pattern.rstrip("*")) if begins else name == pattern


def owner(said: dict[str, str], name: str) -> str:
    """Return whose a file is, by the longest pattern; empty where nothing is said of it."""
    fitting = [pattern for pattern in said if covers(pattern, name)]
    return said[max(fitting, key=len)] if fitting else ""


def unmarked(root: Path, said: dict[str, str], names: set[str]) -> Iterator[str]:
    """Yield the template's files that say so neither themselves nor where their folder begins."""
    for name in sorted(names):
        if owner(said, name) != TEMPLATES or name.startswith(ONLY_IN_README):
            continue
        folders = PurePosixPath(name).parents[:-1]
        begins = [str(folder / index) for folder in folders for index in INDEX_FILES]
        said_here = any(_says(root / place, MARK) for place in (name, *begins))
        called_by_make = name.startswith("scripts/") and _says(root / "Makefile", MARK_OF_SCRIPTS)
        if not said_here and not called_by_make:
            yield name


def _says(path: Path, words: str) -> bool:
    return path.is_file() and words in "".join(path.read_text("utf-8").splitlines(True)[:20])
