"""Files that a project would bring and the destination already holds.

Copier asks before it overwrites one. Where nobody can be asked it stops at the first, with some
files written and others not; so that case is refused before the first is written.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

NAMED = 5
ANSWERS_FILE = ".copier-answers.yml"

_VARIABLE = re.compile(r"\{\{\s*(\w+)\s*\}\}")
_SUFFIX = ".jinja"
_MOVE = "Nothing was changed. Give yours another name."


def refusal(template: Path, context: Mapping[str, Any]) -> str:
    """Return why Copier cannot copy here, or an empty text."""
    options = context["_copier_conf"]
    if options.get("overwrite") or options.get("dst_path") is None or _someone_answers():
        return ""
    destination = Path(options["dst_path"])
    if not destination.is_dir() or (destination / ANSWERS_FILE).exists():
        return ""  # what lies in a generated project is mostly identical, which is no conflict
    skipped = options.get("skip_if_exists") or ()
    there = [
        path
        for path in sorted(written(template, context))
        if _holds(destination / path) and not _matches(path, skipped)
    ]
    if not there:
        return ""
    more = len(there) - NAMED
    listed = ", ".join(there[:NAMED]) + (f" and {more} more" if more > 0 else "")
    return (
        f"{listed} in {destination} would be overwritten, and there is no terminal to ask on. "
        f"Nothing was written. Run this in a terminal, or add --overwrite, or --skip {there[0]} "
        "for each file to keep."
    )


def blocked(template: Path, context: Mapping[str, Any]) -> str:
    """Return where a file or folder cannot be written for what stands there, or an empty text."""
    folder = context["_copier_conf"].get("dst_path")
    if folder is None or not Path(folder).is_dir():
        return ""
    top = Path(folder).resolve()
    for path in sorted(written(template, context)):
        for place in reversed(Path(path).parents[:-1]):
            there = top / place
            if not there.is_dir():
                if there.is_symlink() and not there.exists():
                    return f"{place} is a link to nothing, and {path} needs a folder there. {_MOVE}"
                if there.exists():
                    return f"{place} is a file, and {path} needs a folder there. {_MOVE}"
            elif there.is_symlink() and not there.resolve().is_relative_to(top):
                return (
                    f"{place} is a link that leads out of the project, where {path} would be "
                    "written. Nothing was changed. Make it a folder, with links inside it."
                )
        if (top / path).is_dir():
            return f"{path} is a folder, and the template has a file there. {_MOVE}"
    return ""


def ignored(template: Path, context: Mapping[str, Any]) -> str:
    """Return which files an update would overwrite although git has no copy, or an empty text."""
    folder = context["_copier_conf"].get("dst_path")
    if folder is None or not (Path(folder) / ANSWERS_FILE).exists():
        return ""
    there = [path for path in sorted(written(template, context)) if (Path(folder) / path).exists()]
    git = ["git", "check-ignore", "-z", "--stdin"]  # names nothing that git has
    done = subprocess.run(git, cwd=folder, input="\0".join(there), capture_output=True, text=True)
    found = [path for path in done.stdout.split("\0") if path and path != ANSWERS_FILE]
    if not found:
        return ""
    more = f" and {len(found) - NAMED} more" if found[NAMED:] else ""
    has_command = (Path(folder) / "scripts/update.py").is_file()
    command = ", or run `make update`, which leaves it as it is" if has_command else ""
    return (
        f"{', '.join(found[:NAMED])}{more} would be overwritten, and git, which ignores it, has no "
        f"copy. Nothing was changed. Let git have it (git add -f {found[0]}, and commit), or move "
        f"it away{command}."
    )


def doubled(template: Path, folder: str, context: Mapping[str, Any]) -> str:
    """Return which files of an organisation's folder are ours too, or an empty text."""
    own = sorted(written(template / folder, context))
    every = list(written(template, context))
    both = [path for path in own if every.count(path) > 1]
    if not both:
        return ""
    listed = ", ".join(both[:NAMED]) + (f" and {len(both) - NAMED} more" if both[NAMED:] else "")
    return (
        f"template/{folder} holds {listed}, which the template writes too. "
        "Nothing was written. Give the organisation's file another name."
    )


def written(folder: Path, context: Mapping[str, Any]) -> Iterator[str]:
    """Yield the paths of the files that a template folder makes for these variables."""
    for entry in folder.iterdir():
        name = _VARIABLE.sub(lambda match: str(context.get(match[1], "")), entry.name)
        if (folder / f"{entry.name}{_SUFFIX}").exists():
            continue  # of two that make the same file Copier takes the one that it renders
        name = name.removesuffix(_SUFFIX)
        if not name or "{{" in name or name == "__pycache__":
            continue
        if entry.is_dir():
            prefix = "" if name == "." else f"{name}/"
            yield from (f"{prefix}{path}" for path in written(entry, context))
        else:
            yield name


def _holds(place: Path) -> bool:
    return place.is_file() or place.is_symlink()


def _matches(path: str, patterns: Sequence[str]) -> bool:
    name = path.rpartition("/")[2]
    return any(fnmatch(path, p.lstrip("/")) or fnmatch(name, p) for p in patterns)


def _someone_answers() -> bool:
    return sys.stdin is not None and not sys.stdin.closed and sys.stdin.isatty()
