"""Which model a folder holds: what every answer says of it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from .checkpoints import hashes, sha256


def identity(folder: Path, weights: Iterable[Path] | None = None) -> tuple[str, str, str]:
    """Name, version and digest of a trained model: its run, and a hash of its weights.

    `weights`: the files that predict, where they are not the safetensors. Hashes are those of the
    manifest, which was compared with the files when they were loaded.
    """
    listed = hashes(folder)
    digest = hashlib.sha256()
    for file in sorted(folder.glob("*.safetensors")) if weights is None else weights:
        digest.update(bytes.fromhex(listed.get(file.name) or sha256(file)))
    return model_name(folder), digest.hexdigest()[:12], f"sha256:{digest.hexdigest()}"


def model_name(folder: Path) -> str:
    """The run that a model is of; of the hub's models, owner and name."""
    folder = folder.resolve()
    if folder.parent.name == "snapshots":  # the hub's cache: models--owner--name/snapshots/commit
        return folder.parent.parent.name.removeprefix("models--").replace("--", "/")
    is_part = folder.name == "final" or folder.name.startswith("export")
    return folder.parent.name if is_part and folder.parent.name else folder.name
