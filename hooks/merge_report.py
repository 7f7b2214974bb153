"""What an update left to the user: conflicts, and edited files that the template has no more."""

from __future__ import annotations

import re
from pathlib import Path

import git_commands

MARKER = "<<<<<<< before updating"
ANSWERS_FILE = ".copier-answers.yml"
SHOWN = 20


def report(project: Path) -> list[str]:
    """Return lines for the terminal; none where nothing is left to do."""
    lines = []
    if conflicts := conflicted(project):
        lines += ["Both you and the template changed the same lines of:", *shown(conflicts)]
        lines += [
            "Edit what stands between <<<<<<< and >>>>>>> (git diff shows it), then `git add` the "
            "file."
        ]
        if any(Path(name).name == "requirements.txt" for name in conflicts):
            lines += ["requirements.txt: `make lock` takes the template's pins and adds yours."]
    if "requirements.txt" not in conflicts and (twice := pinned_twice(project)):
        lines += [f"requirements.txt pins twice: {', '.join(twice)}; `make lock` settles that."]
    if removed := removed_with_edits(project):
        known = "you had changed them" if _last_update(project) else "you may have changed them"
        lines += [f"The template has these files no more, and {known}:", *shown(removed)]
        lines += [f"Your version of one: git show HEAD:./{removed[0]}"]
    return lines


def conflicted(project: Path) -> list[str]:
    """Return the files that hold conflict marks of an update, as seen from the project."""
    search = ("grep", "--no-index", "-lzF", "--exclude-standard", MARKER, "--", ".")
    found = git_commands.listed(project, *search)
    # a page that explains the marks has no line which starts with them alone
    return [name for name in found if _has_marker(project / name)]


def pinned_twice(project: Path) -> list[str]:
    """Return packages with two lines in requirements.txt, one of which holds everywhere.

    Git merges it so where the template has come to need a package that the user had added.
    """
    file, lines = project / "requirements.txt", dict[str, list[str]]()
    for line in file.read_text("utf-8", "replace").splitlines() if file.is_file() else ():
        if pin := re.match(r"([\w.-]+) *==", line):
            name = re.sub(r"[-_.]+", "-", pin[1]).lower()
            lines.setdefault(name, []).append(line.partition("#")[0])
    return [
        name
        for name, found in lines.items()
        if len(found) > 1 and any(";" not in line for line in found)
    ]


def removed_with_edits(project: Path) -> list[str]:
    """Return files that this update removed and that hold, or may hold, changes of the user's.

    What the old template has byte for byte is its own. What was rendered counts as changed where
    the history shows it, and where the history does not reach back to the last update.
    """
    of_template = git_commands.old_template()
    rendered = {Path(path).stem for path in of_template if path.endswith(".jinja")}
    as_they_are = {Path(path).name for path in of_template} - rendered
    raw = ("diff", "-z", "--raw", "--no-abbrev", "--relative", "--diff-filter=D", "HEAD")
    parts = git_commands.listed(project, *raw)  # ":<mode> <mode> <blob> <blob> D", name, …
    blobs = {name: part.split()[2] for part, name in zip(parts[::2], parts[1::2], strict=True)}
    unlike = [name for name, blob in blobs.items() if blob not in of_template.values()]
    last = _last_update(project)
    if not last or not unlike:
        return unlike
    since = ("diff", "-z", "--name-only", "--relative", "--diff-filter=M", last, "HEAD")
    changed = git_commands.listed(project, *since)
    return [name for name in unlike if name in changed or Path(name).name in as_they_are]


def _last_update(project: Path) -> str:
    """Return the commit that brought the version which the project was at; empty if not known."""
    stored = git_commands.text(project, "show", f"HEAD:./{ANSWERS_FILE}") or ""
    version = next((line for line in stored.splitlines() if line.startswith("_commit:")), "")
    search = ("log", "-1", "--format=%H %P", f"-S{version}", "--", ANSWERS_FILE)
    commit, *parents = (git_commands.text(project, *search) or "").split() or [""]
    shallow = git_commands.text(project, "rev-parse", "--is-shallow-repository") == "true\n"
    # where a shallow clone begins, git takes every line for a new one
    return commit if version and (parents or not shallow) else ""


def _has_marker(path: Path) -> bool:
    return any(line.rstrip() == MARKER.encode() for line in path.read_bytes().splitlines())


def shown(names: list[str]) -> list[str]:
    """Return names as lines, not more than a terminal has."""
    more = [f"  and {len(names) - SHOWN} more"] if len(names) > SHOWN else []
    return [*(f"  {name}" for name in names[:SHOWN]), *more]
