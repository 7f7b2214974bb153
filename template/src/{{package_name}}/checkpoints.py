"""Checkpoints that are whole or not there.

A checkpoint is written under a temporary name, flushed to the disk, listed with sizes and
hashes in a manifest, and then renamed: whoever is killed in between leaves the ones before
untouched. A truncated or altered one is recognised and passed over.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import ConfigError, UserError

MANIFEST = "manifest.json"
CARD = "README.md"  # people go on writing in it, so it may differ from the manifest
_PREFIX = "step-"


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of one run, `step-000020/` and so on."""

    directory: Path
    keep: int

    def path(self, step: int) -> Path:
        """Where the checkpoint of a step is."""
        return self.directory / f"{_PREFIX}{step:06d}"

    def save(
        self, step: int, write: Callable[[Path], None], also_keep: Collection[int | None] = ()
    ) -> Path:
        """Let `write` fill a new checkpoint's folder; drop the oldest beyond `keep`.

        Those of the steps in `also_keep` stay however old they are.
        Those of later steps go too: they are damaged, or of a course that was given up by going
        back, and `newest` must not find them.
        """
        path = self.path(step)
        write_whole(path, write)
        found = self.all()
        earlier = [p for p in found if step_of(p) <= step]
        kept = [*earlier[-self.keep :], *(p for p in earlier if step_of(p) in also_keep)]
        for old in found:
            if old not in kept:
                shutil.rmtree(old, ignore_errors=True)
        return path

    def all(self) -> list[Path]:
        """Every checkpoint's folder, oldest first, whole or not."""
        return sorted(filter(is_checkpoint, self.directory.glob(f"{_PREFIX}*")), key=step_of)

    def newest(self, warn: Callable[[str], None]) -> Path | None:
        """The newest whole checkpoint; each damaged one before it is named to `warn`."""
        for path in reversed(self.all()):
            problem = damage(path)
            if problem is None:
                return path
            warn(f"checkpoint {path} is damaged ({problem}); trying the one before")
        return None


def check_model(folder: Path) -> None:
    """Raise UserError where a model's files are not those that its manifest lists.

    A folder without a manifest, such as one from the hub, is taken as it is.
    """
    problem = damage(folder, editable={CARD}) if (folder / MANIFEST).is_file() else None
    if problem:
        raise UserError(
            f"{folder} is damaged ({problem}); copy or export it again, or delete its {MANIFEST} "
            "if you changed the files yourself"
        )


def hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of the files in `folder` that its manifest lists, by name; empty without one."""
    return {name: facts["sha256"] for name, facts in _read_manifest(folder).items()}


def is_checkpoint(path: Path) -> bool:
    """Whether a folder has a checkpoint's name."""
    return path.name.startswith(_PREFIX) and path.name[len(_PREFIX) :].isdigit()


def step_of(checkpoint: Path) -> int:
    """The optimizer step after which a checkpoint was written."""
    return int(checkpoint.name.removeprefix(_PREFIX))


def write_whole(path: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a folder that appears at `path` complete or not at all.

    What stood at `path` is replaced only then. Raises UserError when the disk is full or
    the place cannot be written; nothing that existed is lost.
    """
    path = path.resolve() if path.is_symlink() else path  # the link stays
    temporary = path.with_name(f".{path.name}.writing")
    replaced = path.with_name(f".{path.name}.replaced")
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        write(temporary)
        _write_manifest(temporary)
        if path.exists():
            shutil.rmtree(replaced, ignore_errors=True)
            path.rename(replaced)
        temporary.rename(path)
        _sync(path.parent)
        shutil.rmtree(replaced, ignore_errors=True)
    except OSError as error:
        if replaced.exists() and not path.exists():
            replaced.rename(path)
        full = error.errno == errno.ENOSPC or "No space left" in str(error)
        advice = "free some space" if full else "check that it can be written"
        raise UserError(
            f"{path} could not be written ({error.strerror or error}); {advice} and run again: "
            "earlier checkpoints are whole"
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)  # there after any other error only


def check_replaceable(path: Path) -> None:
    """Raise ConfigError when `path` holds what `write_whole` did not write: it would be lost."""
    try:
        if not path.exists():
            return
        foreign = next(foreign_files(path), None) if path.is_dir() else path.name
    except OSError as error:
        raise ConfigError(f"--output {path}: {error.strerror}; name another folder") from None
    if foreign:
        raise ConfigError(
            f"--output {path}: it would be replaced, and {foreign} there was not written by this "
            "command; name another folder"
        )


def foreign_files(folder: Path) -> Iterator[str]:
    """Files in `folder` that its manifest does not list."""
    ours = {MANIFEST, ".gitkeep", *_read_manifest(folder)}
    for parent, _, names in os.walk(folder):
        relative = (Path(parent, name).relative_to(folder).as_posix() for name in names)
        yield from (name for name in relative if name not in ours)


def _read_manifest(folder: Path) -> dict[str, Any]:
    try:
        loaded = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return loaded if isinstance(loaded, dict) else {}


def damage(path: Path, editable: Collection[str] = ()) -> str | None:
    """What is wrong with a folder that `write_whole` wrote, or None when it is whole.

    Files in `editable` are passed over.
    """
    try:
        manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
        for name, expected in manifest.items():
            if name in editable:
                continue
            file = path / name
            if file.stat().st_size != expected["bytes"]:
                return f"{name} has {file.stat().st_size} bytes, not {expected['bytes']}"
            if sha256(file) != expected["sha256"]:
                return f"{name} was altered"
    except FileNotFoundError as error:
        return f"{Path(error.filename).name} is missing"
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return f"{MANIFEST} cannot be read"
    return None


def _write_manifest(folder: Path) -> None:
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    manifest = {}
    target = folder / MANIFEST
    target.touch()
    for file in files:
        # safetensors writes for the owner alone, whatever the umask; a service runs as another
        file.chmod(target.stat().st_mode)
        _sync(file)
        manifest[file.relative_to(folder).as_posix()] = {
            "bytes": file.stat().st_size,
            "sha256": sha256(file),
        }
    target.write_text(json.dumps(manifest, indent=1), encoding="utf-8")
    _sync(target)


def sha256(file: Path) -> str:
    """Of a file's bytes, in hexadecimal digits."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _sync(path: Path) -> None:
    """Flush a file or a folder's entries to the disk (folders cannot be opened on Windows)."""
    if path.is_dir() and os.name == "nt":
        return
    descriptor = os.open(path, os.O_RDONLY if os.name != "nt" else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
