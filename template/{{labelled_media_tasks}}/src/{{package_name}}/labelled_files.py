"""Media files with a class: a folder for each class, a table, or a data set of the hub."""

from __future__ import annotations

import hashlib
import io
import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from . import media
from .config import DataConfig
from .errors import DataError
from .media_files import (
    Media,
    Store,
    as_cell,
    called,
    content_sha256_of_media,
    find_media,
    media_digest,
    open_media,
    reason,
    size_bytes,
)
from .rows import BadRows, Row, checked, data_files, hold_out, local_path, read_rows

TABLES = {".csv", ".tsv", ".jsonl", ".ndjson", ".parquet"}
# folders that are parts of a data set, and hardly classes
PARTS = {"train", "training", "val", "valid", "validation", "dev", "eval", "test", "testing"}


@dataclass(frozen=True)
class Example:
    """A valid row, or a file of a class folder."""

    media: Media
    label: str
    row: str
    """Its row in a table, or its path in a class folder, for messages."""
    where: str
    """The same with the table's name."""
    seconds: float = 0.0
    """How long a recording is; images have no length."""

    def open(self) -> io.BufferedReader | io.BytesIO:
        """The media as a binary stream. Raises OSError."""
        return open_media(self.media)


def read_examples(
    location: str, data: DataConfig, split: str = "train", bad: BadRows | None = None
) -> Iterator[Example]:
    """Examples of a folder of classes, a table, a folder of tables, or a hub split.

    The header of each file is read. Raises one DataError for all that cannot be used, at the end,
    or collects it in `bad`.
    """
    store = Store()

    def check(item: Row | Example) -> Example:
        example = validate(item, data, store) if isinstance(item, Row) else item
        try:
            with example.open() as file:
                return replace(example, seconds=media.check(file))
        except (OSError, ValueError) as error:
            raise unusable(example, error) from None

    return checked(_listed(location, split), check, bad)


def unusable(example: Example, error: Exception) -> DataError:
    """The error that names the row and its file."""
    in_table = example.where != str(example.media)
    what = f": {called(example.media, media.KIND)}" if in_table else ""
    return DataError(f"{example.where}{what} {reason(error)}; mend or drop it")


def validate(row: Row, data: DataConfig, store: Store) -> Example:
    """Check one row of a table, but not the media. Raises DataError naming file, line, column."""
    for column in (data.media_column, data.label_column):
        if column not in row.values:
            has = ", ".join(f"`{name}`" for name in row.values) or "none"
            raise DataError(
                f"{row.where}: no column `{column}` (it has {has}); "
                "rename it or set data.media_column and data.label_column"
            )
    label = row.values[data.label_column]
    if isinstance(label, bool) or not isinstance(label, str | int) or not str(label).strip():
        raise DataError(
            f"{row.where}: `{data.label_column}` is empty or no class name; mend or drop the row"
        )
    found = find_media(row, data.media_column, row.values[data.media_column], store)
    return Example(found, str(label).strip(), str(row.number), row.where)


def _listed(location: str, split: str) -> Iterator[Row | Example]:
    """Rows of tables, or the files of class folders."""
    path = local_path(location)
    if path and path.is_dir() and not _tables(path):
        yield from _of_class_folders(path)
        return
    for table in [str(file) for file in _tables(path)] if path else [location]:
        yield from read_rows(table, split)


def _tables(path: Path) -> list[Path]:
    """The tables at `path`; text files beside media are none."""
    if path.is_file():
        return data_files(path)
    return [file for file in _files(path) if file.suffix.lower() in TABLES]


def _of_class_folders(path: Path) -> Iterator[Example]:
    """The files below each folder of `path`, which names their class."""
    folders = sorted(each for each in _entries(path) if each.is_dir())
    known = ", ".join(sorted(media.SUFFIXES))
    if folders and all(folder.name.lower() in PARTS for folder in folders):
        raise DataError(
            f"{path} holds the folders {', '.join(f.name for f in folders)}, which are no classes; "
            f"set data.train to {folders[0]}"
        )
    if not folders:
        raise DataError(
            f"{path} holds neither a table nor a folder for each class with {media.KIND} files "
            f"({known})"
        )
    for folder in folders:
        files = [file for file in _files(folder) if file.suffix.lower() in media.SUFFIXES]
        if not files:
            raise DataError(
                f"{folder} holds no {media.KIND} file ({known}); a folder is a class, so fill it "
                "or remove it"
            )
        for file in files:
            name = file.relative_to(path).as_posix()
            if any("\ud800" <= character <= "\udfff" for character in name):
                raise DataError(f"{path}: the name {name!r} is not UTF-8; rename it")
            yield Example(file, folder.name, name, str(file))


def _entries(path: Path) -> list[Path]:
    try:
        return [each for each in path.iterdir() if not each.name.startswith(".")]
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None


def _files(path: Path) -> list[Path]:
    """All files below `path` but hidden ones, sorted."""

    def refuse(error: OSError) -> None:
        raise DataError(f"{error.filename} cannot be read: {error.strerror}")

    found: list[Path] = []
    for folder, folders, names in os.walk(path, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(folder, name) for name in names if not name.startswith(".")]
    return sorted(found)


def example_key(example: Example) -> str:
    """What makes two rows the same row: the bytes of the media, whatever its name or class."""
    return media_digest(example.media)


group_key = example_key  # rows that must be on the same side when some are held out


def to_record(example: Example, data: DataConfig) -> dict[str, Any]:
    """The row as prepare_data writes it."""
    return {data.media_column: as_cell(example.media), data.label_column: example.label}


def split_examples(
    examples: Sequence[Example], fraction: float
) -> tuple[list[Example], list[Example]]:
    """Split off `fraction` for evaluation, class by class; equal files stay together."""
    keys = {id(example): example_key(example) for example in examples}
    class_of: dict[str, str] = {}  # of a file that stands in two classes, the first
    by_label: dict[str, list[Example]] = defaultdict(list)
    for example in examples:
        label = class_of.setdefault(keys[id(example)], example.label)
        by_label[label].append(example)
    kept: list[Example] = []
    held_out: list[Example] = []
    for label in sorted(by_label):
        train, rest = hold_out(by_label[label], lambda example: keys[id(example)], fraction)
        kept += train
        held_out += rest
    return kept, held_out


def count_leaked(train: Sequence[Example], held_out: Sequence[Example]) -> int:
    """How many held-out files are also training files, by content.

    Only files of a size that both sides have are read for it.
    """
    sizes = [{size_bytes(example.media) for example in side} for side in (train, held_out)]
    shared = sizes[0] & sizes[1]
    keys = {example_key(example) for example in train if size_bytes(example.media) in shared}
    return sum(size_bytes(e.media) in shared and example_key(e) in keys for e in held_out)


def content_hash(location: str, data: DataConfig) -> str:
    """Hash of the data: a table by its bytes, media files by their names and sizes.

    Their bytes are not read, which would take minutes for a large folder: a file that changes
    and keeps its name and size goes unseen.
    """
    path = local_path(location)
    if not path:
        return content_sha256_of_media(location, data.media_column)
    digest = hashlib.sha256()
    tables = _tables(path)
    for table in tables:
        digest.update(content_sha256_of_media(str(table), data.media_column).encode())
    for file in [] if tables else _files(path):
        size = size_bytes(file) if file.is_file() else -1
        digest.update(os.fsencode(file.relative_to(path)) + f"\0{size}\n".encode())
    return digest.hexdigest()
