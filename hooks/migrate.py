"""Rename configuration keys in the user's files, as renamed_keys.csv says.

`copier update` brings new names into the files of the template; a value that the user had given to
the old name is carried over here, and files of the user's own get the new names.
"""

from __future__ import annotations

import csv
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import git_commands
import yaml_keys

TABLE = Path(__file__).with_name("renamed_keys.csv")
LABELS = ("before updating", "last update", "after updating")


@dataclass(frozen=True)
class Rename:
    """A key that has another name since a version."""

    version: str
    old: str
    new: str
    note: str


def renames(table: Path = TABLE) -> list[Rename]:
    """Return all renames, oldest first. They hold in every project: an old name means nothing."""
    with table.open(encoding="utf-8", newline="") as file:
        return [Rename(**row) for row in csv.DictReader(file)]


def migrate(project: Path, table: Path = TABLE) -> list[str]:
    """Rename in all files of configs/; return a sentence for each thing done or left to do."""
    return list(_migrate(project, renames(table)))


def _migrate(project: Path, table: list[Rename]) -> Iterator[str]:
    for path in sorted((project / "configs").rglob("*.y*ml")):
        name = path.relative_to(project).as_posix()
        # what a link points to may be another project's
        own = path.resolve() == project.resolve() / name
        if path.suffix not in (".yaml", ".yml") or not path.is_file() or not own:
            continue
        yield from _carry(project, name, table)
        for rename in table:
            text = _read(path)
            if _leaf(rename) not in text:
                continue
            try:
                if "<<<<<<< " in text:
                    raise yaml_keys.AmbiguousError("has conflicts to resolve")
                new = yaml_keys.renamed(text, rename.old, rename.new)
            except yaml_keys.AmbiguousError as problem:
                yield (
                    f"{name} {problem}: {rename.old} is called {rename.new} since "
                    f"{rename.version}; write your value there yourself."
                )
                continue
            if new != text:
                _write(path, new)
                yield _done(name, rename)


def _carry(project: Path, name: str, table: list[Rename]) -> Iterator[str]:
    """Merge a file with conflicts again, each value under the new name instead of the old line."""
    stages = [git_commands.text(project, "show", f":{stage}:./{name}") for stage in (2, 1, 3)]
    if None in stages:
        return
    ours, base, theirs = (stage or "" for stage in stages)
    carried = []
    for rename in table:
        try:
            old = yaml_keys.find(ours, rename.old), yaml_keys.find(base, rename.old)
            if not (old[0] and old[1] and yaml_keys.find(theirs, rename.new)):
                continue
            own, former = (
                yaml_keys.value_text(text, entry)
                for text, entry in ((ours, old[0]), (base, old[1]))
            )
            if own == former:
                continue
            theirs = yaml_keys.with_value(theirs, rename.new, own)
            ours = yaml_keys.with_value(ours, rename.old, former)
        except yaml_keys.AmbiguousError:
            continue  # the conflict marks show both
        carried.append(rename)
    if not carried:
        return
    merged, clean = _merge(ours, base, theirs)
    if any(_leaf(rename) in merged for rename in carried):
        return  # the old name is still in a conflict: there both sides stay as they were written
    _write(project / name, merged)
    if clean:  # no longer marked as unmerged
        git_commands.output(project, "reset", "--quiet", "--", name)
    yield from (_done(name, rename) for rename in carried)


def _merge(*texts: str) -> tuple[str, bool]:
    labels = [part for label in LABELS for part in ("-L", label)]
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder, str(number)) for number in range(3)]
        for path, text in zip(paths, texts, strict=True):
            _write(path, text)
        done = subprocess.run(
            ["git", "merge-file", "-p", *labels, *map(str, paths)], capture_output=True, check=False
        )
    if not 0 <= done.returncode < 128:  # else the number of conflicts
        raise OSError(f"git merge-file: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout.decode("utf-8"), done.returncode == 0


def _leaf(rename: Rename) -> str:
    return rename.old.rsplit(".", 1)[-1]


def _done(name: str, rename: Rename) -> str:
    note = f" ({rename.note})" if rename.note else ""
    return f"{name}: {rename.old} is called {rename.new} now{note}; your value is there."


def _read(path: Path) -> str:
    return path.read_bytes().decode("utf-8", errors="surrogateescape")


def _write(path: Path, text: str) -> None:
    path.write_bytes(text.encode("utf-8", errors="surrogateescape"))
