"""Keep the user's version of what is no UTF-8 text, which Copier would overwrite without a word.

Copier renders the new version over the project and then applies the user's changes as a patch:
decoded, and without binary contents. An image of the user's would be the template's again, and a
text in another encoding would lose letters.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import git_commands
import merge_report

READ_BY_GIT = 8000
"""In so many bytes git looks for a NUL to tell whether a file is binary."""


def report(project: Path) -> list[str]:
    """Do so; return lines for the terminal, none where the template had nothing new for them."""
    differing = list(dict.fromkeys([*keep(project), *links(project)]))
    if not differing:
        return []
    return [
        "These are no UTF-8 text, or links, which an update does not merge. They are as you",
        "committed them, without what the template may have changed:",
        *merge_report.shown(differing),
    ]


def keep(project: Path) -> list[str]:
    """Bring such files back as they were committed; return those of which the template has more."""
    of_template = set(git_commands.old_template().values())
    differing = []
    changed = ("diff", "-z", "--name-only", "--relative", "--diff-filter=MT", "HEAD")
    for name in git_commands.listed(project, *changed):
        path = project / name
        mine = git_commands.output(project, "cat-file", "--filters", f"HEAD:./{name}")
        if mine is None or path.is_symlink() or not path.is_file():
            continue
        updated = path.read_bytes()
        if is_text(mine) and is_text(updated):
            continue
        if _blob(mine) in of_template:  # never touched: the new version's it shall be
            continue
        if git_commands.output(project, "checkout", "HEAD", "--", name) is None:
            raise OSError(f"{name} could not be brought back: git checkout HEAD -- {name}")
        only_patched = updated == mine.decode("utf-8", errors="ignore").encode()
        if _blob(updated) not in of_template and not only_patched:
            differing.append(name)
    return differing


def links(project: Path) -> list[str]:
    """Return links, which Copier leaves, in place of files that the new version changed or dropped.

    Of any answers: `{{task_llm}}/data/README.md` is the place `data/README.md`.
    """
    version = os.environ.get("VERSION_FROM", "")
    between = ("diff", "-z", "--name-only", "--no-renames", version, "HEAD", "--", "template")
    changed = git_commands.listed(git_commands.TEMPLATE, *between)
    places = [
        re.escape(re.sub(r"^template/|{{(?!package_name)\w+}}/", "", path.removesuffix(".jinja")))
        for path in changed
    ]
    is_place = re.compile("|".join(places).replace(re.escape("{{package_name}}"), r"\w+"))
    entries = git_commands.listed(project, "ls-tree", "-r", "-z", "HEAD")
    names = [entry.split("\t", 1)[1] for entry in entries if entry.startswith("120000 ")]
    return [name for name in names if is_place.fullmatch(name)]


def is_text(content: bytes) -> bool:
    """Whether Copier merges it."""
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return b"\0" not in content[:READ_BY_GIT]


def _blob(content: bytes) -> str:
    """Return the name that the template's repository gives to this content."""
    command = ["git", "hash-object", "--stdin"]
    done = subprocess.run(
        command, cwd=git_commands.TEMPLATE, input=content, capture_output=True, check=False
    )
    return done.stdout.decode().strip()
