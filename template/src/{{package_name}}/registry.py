"""The registry of trained models: numbered versions that never change, and aliases that move.

`registry:NAME@champion` or `registry:NAME@3` names a version wherever a command takes `--model`.
Where versions are kept is a `Store`: a folder in models/, or what a tracker brings.
"""

from __future__ import annotations

import getpass
import hashlib
import importlib
import importlib.util
import json
import os
import re
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, Protocol

from filelock import FileLock, Timeout

from .checkpoints import CARD, damage, hashes
from .errors import ConfigError, UserError
from .progress import final_evaluation
from .redaction import brief
from .runs import read_json

PREFIX = "registry:"
DEFAULT_ALIAS = "champion"
FOLDER = Path("models/registry")
OUTPUTS = Path("models/from_registry")
LOCK_SECONDS = 10.0

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
_resolved: set[Path] = set()  # folders that are versions
_ALIAS = re.compile(r"(?!v?\d+$|latest$)[a-z0-9][a-z0-9_-]{0,49}")


@dataclass(frozen=True)
class Version:
    """One registered model."""

    name: str
    number: int
    digest: str
    """SHA-256 of the list of files with their hashes."""
    source: str
    """Folder that it was registered from."""
    registered: str
    by: str
    about: Mapping[str, Any]
    """Task, data hash, commit and metrics of its run."""


@dataclass(frozen=True)
class Entry:
    """All that is known under one name."""

    versions: Sequence[Version] = ()
    aliases: Mapping[str, int] = field(default_factory=dict)
    history: Sequence[Mapping[str, Any]] = ()
    """Each promote and rollback, oldest first: when, by, action, alias, from, to."""


class Store(Protocol):
    """Where versions are kept."""

    def names(self) -> list[str]:
        """Every registered name."""

    def read(self, name: str) -> Entry:
        """What is known under a name; empty for an unknown one."""

    def add(self, version: Version, folder: Path) -> Version:
        """Keep a copy of `folder`; returns the version with its number."""

    def point(self, name: str, alias: str, number: int, history: Sequence[Any]) -> None:
        """Let an alias mean a version, and keep the history that says so."""

    def folder(self, version: Version) -> Path:
        """The version's files on this machine."""


class Registry:
    """What the commands do, whatever the store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def register(self, folder: Path, name: str) -> tuple[Version, bool]:
        """Add the model in `folder`; returns its version and whether it is new."""
        if not _NAME.fullmatch(name):
            given = brief(repr(name), 80)
            raise ConfigError(f"{given} is no name for a model; take letters, digits and -_.")
        _check(folder)
        digest = digest_of(folder)
        with _lock():
            for known in self._store.read(name).versions:
                if known.digest == digest:
                    return known, False
            now, user = _stamp()
            about = about_run(folder.parent)
            version = Version(name, 0, digest, folder.as_posix(), now, user, about)
            return self._store.add(version, folder), True

    def promote(self, reference: str, alias: str) -> tuple[Version, int | None]:
        """Let an alias mean a version; returns it and the number that was meant before."""
        if not _ALIAS.fullmatch(alias):
            given = brief(repr(alias), 60)
            raise ConfigError(f"{given} is no alias; take small letters, such as champion")
        with _lock():
            version = self.find(reference)
            return version, self._point(version, alias, "promote")

    def rollback(self, name: str, alias: str) -> tuple[Version, int | None]:
        """Let an alias mean what it meant before its last promotion that was not taken back."""
        with _lock():
            entry = self._entry(name)
            meant = _stack(entry.history, alias)
            if len(meant) < 2:
                raise ConfigError(
                    f"{name}@{alias} has meant no version before; "
                    f"`registry.py show {name}` has the history"
                )
            version = self.find(f"{name}@{meant[-2]}")
            return version, self._point(version, alias, "rollback")

    def find(self, reference: str) -> Version:
        """The version of `NAME@ALIAS` or `NAME@NUMBER`."""
        name, _, which = reference.removeprefix(PREFIX).partition("@")
        entry = self._entry(name)
        number = int(which) if which.isdecimal() else entry.aliases.get(which)
        for version in entry.versions:
            if version.number == number:
                return version
        there = [*map(str, (v.number for v in entry.versions)), *sorted(entry.aliases)]
        raise ConfigError(
            f"{reference}: {name} has no version or alias `{which}`; there is "
            f"{', '.join(f'{name}@{word}' for word in there)}"
        )

    def resolve(self, reference: str) -> Path:
        """The folder of a version, checked to be what was registered."""
        version = self.find(reference)
        folder = self._store.folder(version)
        problem = damage(folder, editable={CARD})
        if problem is None and digest_of(folder) != version.digest:
            problem = "its files are not those that were registered"
        if problem:
            raise UserError(
                f"{reference}: version {version.number} in {folder} is damaged ({problem}); "
                "promote another one, or register the model again from its run"
            )
        return folder

    def names(self) -> list[str]:
        """Every registered name."""
        return self._store.names()

    def entry(self, name: str) -> Entry:
        """What is known under a name. Raises ConfigError for an unknown one."""
        return self._entry(name)

    def _entry(self, name: str) -> Entry:
        entry = self._store.read(name)
        if not entry.versions:
            known = ", ".join(self._store.names()) or "nothing is registered yet"
            raise ConfigError(f"no model is registered as {brief(repr(name), 80)} ({known})")
        return entry

    def _point(self, version: Version, alias: str, action: str) -> int | None:
        entry = self._store.read(version.name)
        before = entry.aliases.get(alias)
        if before != version.number:
            now, user = _stamp()
            step: dict[str, Any] = {"when": now, "by": user, "action": action, "alias": alias}
            step |= {"from": before, "to": version.number}
            self._store.point(version.name, alias, version.number, [*entry.history, step])
        return before


def open_registry() -> Registry:
    """The project's registry: what its tracker brings, else models/registry.

    MODEL_REGISTRY=local takes models/registry in any case.
    """
    there = {
        kind
        for kind in ("local", "mlflow")
        if importlib.util.find_spec(f".registry_{kind}", __package__)
    }
    kind = os.environ.get("MODEL_REGISTRY") or ("mlflow" if "mlflow" in there else "local")
    if kind not in there:
        given = brief(repr(kind), 60)
        raise ConfigError(f"MODEL_REGISTRY is {given}; this project has {', '.join(there)}")
    return Registry(importlib.import_module(f".registry_{kind}", __package__).open_store())


@cache
def model_folder(text: str) -> Path:
    """The folder which `--model` names: a path, or `registry:NAME@ALIAS`."""
    if not text.startswith(PREFIX):
        return Path(text)
    folder = open_registry().resolve(text)
    _resolved.add(folder)
    return folder


def output_folder(model: Path) -> Path:
    """Where commands write what they make of a model: beside it, in its run's folder.

    For a version, which never changes, that is models/from_registry/NAME-NUMBER.
    """
    is_version = model in _resolved or FOLDER.resolve() in model.resolve().parents
    return OUTPUTS / model.resolve().parent.name if is_version else model.parent


def digest_of(folder: Path) -> str:
    """SHA-256 over names and hashes of a model's files, from its manifest; the card is left out."""
    listed = {name: of_file for name, of_file in hashes(folder).items() if name != CARD}
    return hashlib.sha256(json.dumps(listed, sort_keys=True).encode()).hexdigest()


def about_run(run: Path) -> dict[str, Any]:
    """What a version keeps of its run."""
    record = read_json(run / "run.json")
    keys = ("task", "strategy", "data_sha256", "git_commit", "git_dirty", "steps", "final_step")
    return {**{key: record[key] for key in keys if key in record}, **final_evaluation(run)}


def _check(folder: Path) -> None:
    if not (folder / "config.json").is_file():
        raise ConfigError(
            f"{folder} holds no trained model (no config.json); name a `final` folder such as "
            "models/run/final"
        )
    problem = damage(folder, editable={CARD})
    if problem:
        raise UserError(f"{folder} is damaged ({problem}); train or export it again")


def _stack(history: Sequence[Mapping[str, Any]], alias: str) -> list[int]:
    """Versions which an alias has meant, newest last, without those that were taken back."""
    meant: list[int] = []
    for step in history:
        if step["alias"] != alias:
            continue
        if step["action"] == "rollback":
            del meant[-1:]
        else:
            meant.append(step["to"])
    return meant


def _stamp() -> tuple[str, str]:
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # a container's user without a name
        user = "unknown"
    return datetime.now(UTC).isoformat(timespec="seconds"), user


class _Lock(FileLock):
    """One command at a time changes the registry on this machine."""

    def __enter__(self) -> Any:
        try:
            return super().__enter__()
        except Timeout:
            raise UserError(
                f"another command is changing the registry ({self.lock_file} is taken); "
                "run this again when it is done"
            ) from None


def _lock() -> AbstractContextManager[Any]:
    FOLDER.mkdir(parents=True, exist_ok=True)
    return _Lock(FOLDER / ".lock", timeout=LOCK_SECONDS)
