"""Media that rows of a table name or embed: files stay where they are and are read when needed.

What a table embeds goes into one temporary file, so memory does not grow with the data.
"""

from __future__ import annotations

import base64
import hashlib
import io
import os
import re
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .errors import ConfigError, DataError
from .redaction import brief
from .rows import Row, content_sha256, local_path, read_rows

IN_MEMORY_BYTES = 64 * 2**20  # embedded media beyond this lies on disk, in TMPDIR
DATA_URL = re.compile(r"data:[\w.+-]*/?[\w.+-]*(;[\w.+-]+=[^;,]*)*;base64,", re.ASCII)


class Store:
    """A temporary file of embedded media; it goes when the last example of it goes."""

    def __init__(self) -> None:
        self._file = tempfile.SpooledTemporaryFile(max_size=IN_MEMORY_BYTES)  # noqa: SIM115
        self._lock = threading.Lock()  # batches may be prepared in another thread

    def add(self, content: bytes) -> Embedded:
        """Append."""
        with self._lock:
            offset = self._file.seek(0, os.SEEK_END)
            self._file.write(content)
        return Embedded(self, offset, len(content))

    def read(self, offset: int, size: int) -> bytes:
        """What `add` was given."""
        with self._lock:
            self._file.seek(offset)
            return self._file.read(size)


@dataclass(frozen=True)
class Embedded:
    """Media out of a table, in the store."""

    store: Store = field(repr=False, compare=False)
    offset: int
    size: int


Media = Path | Embedded


@dataclass(frozen=True)
class Facts:
    """What `--inspect` tells of a media file."""

    kinds: Mapping[str, str]
    """Such as its format; how many files share each is told."""
    sizes: Mapping[str, float]
    """Such as its seconds; their distribution is told."""
    empty: str | None = None
    """That there is nothing in it to see or hear."""


def open_media(media: Media) -> io.BufferedReader | io.BytesIO:
    """The media as a binary stream. Raises OSError."""
    if isinstance(media, Path):
        return media.open("rb")
    return io.BytesIO(media.store.read(media.offset, media.size))


def called(media: Media, kind: str) -> str:
    """What messages about a row call its media."""
    return f"the {kind} file {media}" if isinstance(media, Path) else f"the {kind}"


def size_bytes(media: Media) -> int:
    """Raises OSError for a file that has gone."""
    return media.stat().st_size if isinstance(media, Path) else media.size


def as_cell(media: Media) -> str:
    """How prepare_data writes it: a path, or embedded media as a data URL.

    The path is from the project's root where the file lies below it, otherwise absolute.
    """
    if isinstance(media, Path):
        absolute, root = media.resolve(), Path.cwd().resolve()
        path = absolute.relative_to(root) if absolute.is_relative_to(root) else absolute
        return path.as_posix()
    with open_media(media) as file:
        return "data:;base64," + base64.b64encode(file.read()).decode()


def reason(error: Exception) -> str:
    """Why a file cannot be used, as it goes on after its name."""
    strerror = getattr(error, "strerror", None)
    return f"cannot be read: {strerror}" if strerror else str(error)


def find_media(row: Row, column: str, value: object, store: Store) -> Media:
    """What a cell of a row names or holds: a path, a data URL, or bytes. Raises DataError."""
    path = named_path(row, value)
    if path:
        return path
    if isinstance(value, Mapping):
        value = value.get("bytes")
    try:
        content = from_base64(value) if isinstance(value, str) and value.strip() else value
    except ValueError:
        raise DataError(f"{row.where}: the data URL in `{column}` is no base64") from None
    if not isinstance(content, bytes) or not content:
        raise DataError(
            f"{row.where}: `{column}` is empty or neither a path nor bytes; mend or drop the row"
        )
    return store.add(content)


def named_path(row: Row, value: object) -> Path | None:
    """The path that a cell names; None where it names none. Raises DataError for an address."""
    if isinstance(value, Mapping):  # as the hub has it
        value = None if value.get("bytes") else value.get("path")
    if not isinstance(value, str) or not value.strip() or DATA_URL.match(value):
        return None
    if "://" in value:
        raise DataError(
            f"{row.where}: {brief(value, 80)} is an address; download the files and name their "
            "paths"
        )
    if "\0" in value:
        raise DataError(f"{row.where}: a path holds a zero byte; mend or drop the row")
    path = Path(value.strip())
    beside = Path(row.source).parent / path
    # as users write it: beside the table; as prepare_data writes it: from the project's root
    return path if not beside.exists() and path.exists() else beside


def from_base64(text: str) -> bytes:
    """The bytes of a base64 text or data URL. Raises ValueError."""
    url = DATA_URL.match(text)
    return base64.b64decode("".join(text[url.end() if url else 0 :].split()), validate=True)


def media_digest(media: Media) -> str:
    """SHA-256 of the bytes. Raises DataError for a file that cannot be read."""
    try:
        with open_media(media) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{media} {reason(error)}") from None


def content_sha256_of_media(location: str, column: str) -> str:
    """Hash of tables by their bytes, and of the files they name by their sizes.

    The bytes of the files are not read, which would take minutes for many: one that changes
    and keeps its size goes unseen. A table whose first row embeds its media is taken to embed
    them all.
    """
    path = local_path(location)
    if not path:
        return content_sha256([location])
    digest = hashlib.sha256(content_sha256([location]).encode())
    for row in read_rows(location):
        cell = row.values.get(column)
        found = [named_path(row, each) for each in (cell if isinstance(cell, list) else [cell])]
        if not any(found):
            break
        digest.update("".join(f"{_bytes(each)}\n" for each in found if each).encode())
    return digest.hexdigest()


def _bytes(path: Path) -> int:
    """Bytes of a file; -1 for one that is missing, which reading it will tell."""
    try:
        return path.stat().st_size
    except OSError:
        return -1


def read_file(path: Path) -> bytes:
    """The content of a file that a command names. Raises ConfigError."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror})") from None
