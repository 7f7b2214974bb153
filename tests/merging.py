"""The merge that an update should be, by git's own `merge-file`, and how its conflicts arose."""

from __future__ import annotations

import difflib
import subprocess
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

LABELS = ("before updating", "last update", "after updating")


@dataclass(frozen=True)
class Expected:
    """The merge of a user's edits and a new version."""

    files: dict[str, bytes]
    conflicts: tuple[str, ...]
    """Files in which both sides changed the same lines, or lines that touch each other."""
    touching: tuple[str, ...]
    """Those of them with a conflict where no line was changed by both."""
    apart: tuple[str, ...]
    """Those with a conflict where not even that is so: none, or this merge is wrong."""
    removed_with_edits: tuple[str, ...]
    """Files that the new version has no more and the user had changed: in git's history only."""
    kept: tuple[str, ...]
    """Files that are no text and that both sides changed: the user's."""


def merge(
    old: dict[str, bytes], ours: dict[str, bytes], new: dict[str, bytes], written_anew: str
) -> Expected:
    """Merge as git would: what one side left alone, the other decides.

    Two rules are Copier's: what the user deleted stays deleted, and what the new version no longer
    has goes. What is no text stays the user's, as in git.
    """
    files: dict[str, bytes] = {}
    names: dict[str, list[str]] = defaultdict(list)
    for name in sorted(old.keys() | ours.keys() | new.keys()):
        before, mine, after = old.get(name), ours.get(name), new.get(name)
        if name == written_anew or mine == before:
            result = after
        elif after == before or mine == after:
            result = mine
        elif mine is None:
            result = None
        elif after is None:
            result = None
            names["removed_with_edits"].append(name)
        elif not (is_text(mine) and is_text(after)):
            result = mine
            names["kept"].append(name)
        else:
            result, conflicts = merge_lines(before or b"", mine, after)
            for kind in conflicts:
                names[kind].append(name)
        if result is not None:
            files[name] = result
    kinds = ("conflicts", "touching", "apart", "removed_with_edits", "kept")
    return Expected(files, *(tuple(names[kind]) for kind in kinds))


def is_text(content: bytes) -> bool:
    """Whether git takes a file for text, and Copier can read it."""
    try:
        return "\0" not in content.decode("utf-8")[:8000]
    except UnicodeDecodeError:
        return False


def merge_lines(before: bytes, mine: bytes, after: bytes) -> tuple[bytes, set[str]]:
    """Return what `git merge-file` makes of three files, and which kinds of conflicts it has."""
    merged, conflicts = merge_file(before, mine, after)
    if not conflicts:
        return merged, set()
    with_base, _ = merge_file(before, mine, after, "--diff3")
    return merged, {"conflicts"} | {
        kind for part in sections(with_base) if (kind := meeting(*part))
    }


def merge_file(before: bytes, mine: bytes, after: bytes, *options: str) -> tuple[bytes, int]:
    """Return what `git merge-file` prints and its number of conflicts."""
    labels = [part for label in LABELS for part in ("-L", label)]
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for name, content in (("mine", mine), ("before", before), ("after", after)):
            paths.append(Path(folder, name))
            paths[-1].write_bytes(content)
        command = ["git", "merge-file", "-p", *options, *labels, *map(str, paths)]
        done = subprocess.run(command, capture_output=True, check=False)
    assert 0 <= done.returncode < 128, done.stderr
    return done.stdout, done.returncode


def sections(with_base: bytes) -> Iterator[tuple[list[bytes], list[bytes], list[bytes]]]:
    """Yield the lines of each conflict: the user's, those before, the template's."""
    mine, before, after = (f"{mark} {label}".encode() for mark, label in zip(
        ("<<<<<<<", "|||||||", ">>>>>>>"), LABELS, strict=True))  # fmt: skip
    found: list[list[bytes]] = []
    for line in with_base.splitlines(keepends=True):
        mark = line.rstrip()
        if mark == mine:
            found = [[]]
        elif found and mark in (before, b"======="):
            found.append([])
        elif found and mark == after:
            ours, old, theirs = found
            yield ours, old, theirs
            found = []
        elif found:
            found[-1].append(line)
    assert not found


def meeting(mine: Sequence[bytes], before: Sequence[bytes], after: Sequence[bytes]) -> str:
    """Return how the changes of a conflict meet: empty where both changed, or added, a line."""
    pairs = list(product(changed_lines(before, mine), changed_lines(before, after)))
    if any(one == other or _share(*one, *other) for one, other in pairs):
        return ""
    touch = any(a == d or b == c for (a, b), (c, d) in pairs)
    return "touching" if touch else "apart"


def changed_lines(before: Sequence[bytes], after: Sequence[bytes]) -> list[tuple[int, int]]:
    """Return the ranges of lines that a side replaced; empty ones where it added."""
    codes = difflib.SequenceMatcher(None, before, after, autojunk=False).get_opcodes()
    return [(start, stop) for tag, start, stop, *_ in codes if tag != "equal"]


def _share(a: int, b: int, c: int, d: int) -> bool:
    """Whether [a, b) and [c, d) share a line, or one adds lines within the other."""
    return max(a, c) < min(b, d) or c < a == b < d or a < c == d < b
