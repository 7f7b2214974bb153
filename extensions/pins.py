"""Exact requirements of one project: the closure of what its choices need, out of the lock.

`locks/<group>.in` names what a group needs directly. A group is `base`, `dev`, or the overlays that
must all be chosen, such as `strategy_qlora` or `serving_fastapi__task_llm`; with `dev_` before them
it adds to `dev`. `locks/<framework>.txt` is the one resolution of them all, whose `# via` comments
say who needs each package; see locks/refresh.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

BASE = "base"
DEV = "dev"
FOR_DEV = "dev_"
SERVING = "serving_"

_PIN = re.compile(r"(?P<name>[A-Za-z0-9._-]+)==\S+")
_GROUP = re.compile(r"-r (?:.*/)?(?P<group>\w+)\.in")


class Pin(NamedTuple):
    """One line of a lock; a package has several where versions differ between Pythons."""

    name: str
    requirement: str
    packages: tuple[str, ...]
    """Packages that need it."""
    groups: tuple[str, ...]
    """Groups that name it."""


class Requirements(NamedTuple):
    """What one project needs: ranges for pyproject.toml, exact lines for requirements files."""

    runtime: tuple[str, ...]
    serving: tuple[str, ...]
    dev: tuple[str, ...]
    pinned: tuple[str, ...]
    pinned_serving: tuple[str, ...]


def read_lock(path: Path) -> list[Pin]:
    """Return the pins of a lock written by `uv pip compile`."""
    pins: list[Pin] = []
    for block in re.split(r"\n(?=[A-Za-z0-9])", path.read_text("utf-8")):
        requirement, *comments = block.splitlines()
        match = _PIN.match(requirement)
        if match is None:
            continue
        sources = [line.strip(" #").removeprefix("via").strip() for line in comments]
        groups = [found["group"] for source in sources if (found := _GROUP.fullmatch(source))]
        packages = [source for source in sources if source and not source.startswith("-")]
        pins.append(Pin(match["name"], requirement.strip(), tuple(packages), tuple(groups)))
    return pins


def read_groups(folder: Path) -> dict[str, tuple[str, ...]]:
    """Return the ranges of each group: `{"strategy_qlora": ("bitsandbytes>=0.50,<1",)}`."""
    return {path.stem: _ranges(path) for path in sorted(folder.glob("*.in"))}


def _ranges(path: Path) -> tuple[str, ...]:
    lines = (line.split(" #")[0].strip() for line in path.read_text("utf-8").splitlines())
    return tuple(line for line in lines if line and not line.startswith("#"))


def requirements(
    pins: Sequence[Pin], groups: Mapping[str, Sequence[str]], chosen: Iterable[str]
) -> Requirements:
    """Return what a project of the `chosen` groups needs; `dev` is always one of them."""
    known = {BASE, DEV, *chosen}
    wanted = [group for group in groups if known.issuperset(overlays_of(group))]
    dev = [group for group in wanted if group == DEV or group.startswith(FOR_DEV)]
    serving = [group for group in wanted if group.startswith(SERVING)]
    runtime = [group for group in wanted if group not in (*serving, *dev)]
    run_names = closure(pins, [*runtime, *serving])
    all_names = closure(pins, [*runtime, *serving, *dev])
    return Requirements(
        runtime=_merged(groups, runtime),
        serving=_merged(groups, serving),
        dev=_merged(groups, dev),
        pinned=(
            "# To run",
            *_lines(pins, run_names, [*runtime, *serving]),
            "",
            "# To develop: tests, checks",
            *_lines(pins, all_names - run_names, dev),
        ),
        pinned_serving=_lines(pins, run_names, [*runtime, *serving]),
    )


def overlays_of(group: str) -> list[str]:
    """Return the overlays that must all be chosen for a group."""
    return group.removeprefix(FOR_DEV).split("__")


def closure(pins: Sequence[Pin], groups: Iterable[str]) -> set[str]:
    """Return the names of all packages that the groups need, directly or through others."""
    wanted = set(groups)
    needed_by: dict[str, set[str]] = {}
    for pin in pins:
        for package in pin.packages:
            needed_by.setdefault(package, set()).add(pin.name)
    found: set[str] = set()
    pending = [pin.name for pin in pins if wanted.intersection(pin.groups)]
    while pending:
        name = pending.pop()
        if name not in found:
            found.add(name)
            pending.extend(needed_by.get(name, ()))
    return found


def _lines(pins: Sequence[Pin], names: set[str], groups: Sequence[str]) -> tuple[str, ...]:
    """Return one line a pin: the requirement, and who needs it among these names and groups."""
    lines = []
    for pin in sorted(pins, key=lambda pin: (pin.name, pin.requirement)):
        if pin.name in names:
            users = [_title(group) for group in pin.groups if group in groups]
            users += sorted(name for name in pin.packages if name in names)
            lines.append(f"{pin.requirement}  # {', '.join(users)}")
    return tuple(lines)


def _title(group: str) -> str:
    return "this project" if group == BASE else f"this project ({group.replace('_', ' ')})"


def _merged(groups: Mapping[str, Sequence[str]], wanted: Sequence[str]) -> tuple[str, ...]:
    return tuple(sorted({line for group in wanted for line in groups.get(group, ())}))
