"""The registry in models/registry: a folder for each version, and registry.json beside them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from . import registry
from .checkpoints import CARD
from .errors import UserError
from .registry import Entry, Version
from .runs import read_json, write_json

# of the run; evaluate reads the first beside the model
RUN_FILES = ("config.yaml", "run.json", "metrics.jsonl", "evaluation.json")


class LocalStore:
    """Keeps copies, so that a deleted run does not break a version."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def names(self) -> list[str]:
        """Every registered name."""
        return sorted(path.parent.name for path in self._root.glob("*/registry.json"))

    def read(self, name: str) -> Entry:
        """What registry.json says."""
        path = self._root / name / "registry.json"
        if not path.is_file():
            return Entry()
        kept = read_json(path)
        try:
            versions = [Version(**version) for version in kept["versions"]]
            return Entry(versions, kept["aliases"], kept["history"])
        except (KeyError, TypeError):
            raise UserError(f"{path} cannot be read; put back a copy of it") from None

    def add(self, version: Version, folder: Path) -> Version:
        """Link the files, or copy them where the disk is another; they are never written again."""
        entry = self.read(version.name)
        number = max((known.number for known in entry.versions), default=0) + 1
        version = replace(version, number=number)
        target = self._folder(version)
        shutil.rmtree(target, ignore_errors=True)  # of a command that was killed
        shutil.copytree(folder, target / "final", copy_function=_link)
        for name in RUN_FILES:
            if (folder.parent / name).is_file():
                shutil.copy2(folder.parent / name, target / name)
        self._write(version.name, replace(entry, versions=[*entry.versions, version]))
        return version

    def point(self, name: str, alias: str, number: int, history: Sequence[Any]) -> None:
        """Change registry.json in one move."""
        entry = self.read(name)
        aliases = {**entry.aliases, alias: number}
        self._write(name, replace(entry, aliases=aliases, history=history))

    def folder(self, version: Version) -> Path:
        """The version's model."""
        return self._folder(version) / "final"

    def _folder(self, version: Version) -> Path:
        # the name that a service tells of its model
        return self._root / version.name / f"{version.name}-{version.number}"

    def _write(self, name: str, entry: Entry) -> None:
        write_json(self._root / name / "registry.json", asdict(entry))


def open_store() -> LocalStore:
    """The store of this project."""
    return LocalStore(registry.FOLDER)


def _link(source: str, target: str) -> str:
    # the card is a copy: people go on writing in the run's
    if Path(source).name != CARD:
        try:
            os.link(source, target)
            return target
        except OSError:  # another disk, or one without links
            pass
    return shutil.copy2(source, target)
