"""What the hooks ask git, of the project and of the template."""

from __future__ import annotations

import os
import subprocess
from functools import cache
from pathlib import Path

TEMPLATE = Path(__file__).resolve().parents[1]


def output(folder: Path, *arguments: str) -> bytes | None:
    """Return what git says, byte for byte, or None where it fails."""
    done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, check=False)
    return None if done.returncode else done.stdout


def text(folder: Path, *arguments: str) -> str | None:
    """Return what git says; bytes that are no UTF-8 survive being written again."""
    said = output(folder, *arguments)
    return None if said is None else said.decode("utf-8", errors="surrogateescape")


def listed(folder: Path, *arguments: str) -> list[str]:
    """Return what git lists, its parts ended by NUL; nothing where it fails."""
    return [part for part in (text(folder, *arguments) or "").split("\0") if part]


@cache
def old_template() -> dict[str, str]:
    """Return the path and the blob of each file of the version that the project comes from.

    Copier names the version in VERSION_FROM. Nothing where it or its files cannot be told.
    """
    version = os.environ.get("VERSION_FROM")
    found = listed(TEMPLATE, "ls-tree", "-r", "-z", "--full-tree", version) if version else []
    entries = (entry.split("\t", 1) for entry in found)
    return {path: mode_type_blob.split()[2] for mode_type_blob, path in entries}
