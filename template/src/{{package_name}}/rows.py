"""Reading rows from CSV, JSONL, Parquet and text files, folders of them, or the hub.

Rows stream: a file larger than memory is read without being held. Every row knows its
file and line, so that whoever refuses it can say where it is.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np

from . import hub
from .errors import DataError
from .redaction import brief
from .splitting import content_key, held_out

T = TypeVar("T")

LISTED_ROWS = 20  # of the bad ones; the rest is counted
STOP_AFTER = 10_000  # bad rows: it is the whole file then, which may be long
MAX_KINDS = 1000  # of what is wrong with them
CSV_FIELD_LIMIT = 64 * 2**20  # characters; the csv module's own 131,072 refuses long documents


@dataclass(frozen=True)
class Row:
    """One record; `number` is its line (text formats) or its 1-based row (Parquet, hub)."""

    source: str
    number: int
    values: dict[str, Any]

    @property
    def where(self) -> str:
        """File and line, as an editor understands it."""
        return f"{self.source}:{self.number}"


class Located(Protocol):
    """A row, or a media file that stands for one."""

    @property
    def where(self) -> str:
        """File and line, or the file."""


Item = TypeVar("Item", bound=Located)


@dataclass
class BadRows:
    """Rows that cannot be used: counted, the first of them with what is wrong."""

    count: int = 0
    listed: list[tuple[str, str]] = field(default_factory=list)
    """(where, sentence) of the first."""
    kinds: Counter[str] = field(default_factory=Counter)
    """How many rows share a sentence; numbers in it count as equal."""
    stopped: bool = False  # whether reading ended with the last of them

    def add(self, where: str, sentence: str) -> None:
        """Remember a row."""
        self.count += 1
        if len(self.listed) <= LISTED_ROWS:
            self.listed.append((where, sentence))
        kind = re.sub(r"\d[\d,.]*", "…", sentence.replace(where, "").lstrip(": "))
        self.kinds[kind if kind in self.kinds or len(self.kinds) < MAX_KINDS else "other"] += 1

    def error(self) -> DataError:
        """The first row's own sentence, then where the others are: one line."""
        (_, sentence), *others = self.listed
        if not others:
            return DataError(sentence)
        unnamed = self.count - len(self.listed)
        rows = "rows" if self.count > 2 else "row"
        return DataError(
            f"{sentence}; {self.count - 1:,} more {rows} cannot be used: "
            + places([where for where, _ in others])
            + (f" and {unnamed:,} more" if unnamed else "")
            + ("; reading stopped there" if self.stopped else "")
        )


def checked(
    items: Iterable[Item], check: Callable[[Item], T], bad: BadRows | None = None
) -> Iterator[T]:
    """What `check` makes of each item; where it raises DataError, the item is bad.

    Raises one DataError for all bad items at the end, and yields nothing after the first. With
    `bad` they are collected there instead: nothing is raised, and all good ones are yielded.
    An error of `items` itself, such as a file that cannot be read, ends it at once.
    """
    found = BadRows() if bad is None else bad
    for item in items:
        try:
            made = check(item)
        except DataError as error:
            found.add(item.where, str(error))
            if bad is None and found.count == STOP_AFTER:
                found.stopped = True
                break
        else:
            if bad is not None or not found.count:
                yield made
    if bad is None and found.count:
        raise found.error()


def places(wheres: Sequence[str]) -> str:
    """`a.csv:3, 9, b.csv:4`: lines of a file that was just named are given alone."""
    named, last = list[str](), ""
    for where in wheres:
        source, _, number = where.rpartition(":")
        same = source == last and number.isdecimal()
        named.append(number if same else where)
        last = source
    return ", ".join(named)


def read_rows(location: str, split: str = "train", revision: str | None = None) -> Iterator[Row]:
    """Yield the rows of a local file or folder, or of a split of a hub dataset.

    Raises DataError for a missing or unreadable file, naming file and line.
    """
    path = local_path(location)
    if path:
        empty = True
        for file in data_files(path):
            for row in _READERS[file.suffix.lower()](file):
                empty = False
                yield row
        if empty:
            raise DataError(f"{location} has no rows; give a file with at least one")
    elif is_hub_id(location):
        yield from _read_hub(location, split, revision)
    else:
        raise DataError(f"{location}: no such file; check the path in the `data` section")


def local_path(location: str) -> Path | None:
    """The local file or folder that `location` names; None where there is none.

    Raises DataError where the system does not say.
    """
    try:
        path = Path(location).expanduser()
        return path if path.exists() else None
    except (OSError, RuntimeError) as error:  # RuntimeError: ~someone without a home
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{brief(location)} cannot be read: {reason}") from None


def is_hub_id(location: str) -> bool:
    """Whether `location` can only be a hub id (`org/name` without a data suffix)."""
    parts = location.split("/")
    plain = len(parts) <= 2 and all(parts) and not location.startswith((".", "~", "/"))
    return plain and Path(location).suffix.lower() not in _READERS


def data_files(path: Path) -> list[Path]:
    """The data files at `path`, sorted; hidden ones are left out. Raises DataError for none."""
    if path.is_file():
        if path.suffix.lower() not in _READERS:
            known = ", ".join(sorted(_READERS))
            raise DataError(f"{path}: unknown kind of file; this project reads {known}")
        return [path]
    files: list[Path] = []
    for folder, folders, names in os.walk(path, onerror=_refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found = (Path(folder, name) for name in names if not name.startswith("."))
        files += [file for file in found if file.suffix.lower() in _READERS]
    files.sort()
    if not files:
        raise DataError(f"{path} holds no data file ({', '.join(sorted(_READERS))})")
    return files


def _refuse(error: OSError) -> None:
    """A folder that cannot be listed is an error: its rows must not go missing in silence."""
    raise DataError(f"{error.filename} cannot be read: {error.strerror}")


def content_sha256(locations: Sequence[str]) -> str:
    """Hash of the bytes of all local files; a hub id counts by its name."""
    digest = hashlib.sha256()
    for location in locations:
        path = local_path(location)
        if not path:
            digest.update(os.fsencode(location))
            continue
        for file in data_files(path):
            try:
                facts = file.stat()
                digest.update(_digest(file, facts.st_size, facts.st_mtime_ns))
            except OSError as error:
                raise DataError(f"{file} cannot be read: {error.strerror}") from None
    return digest.hexdigest()


@lru_cache(maxsize=4096)
def _digest(file: Path, size: int, mtime_ns: int) -> bytes:
    """SHA-256 of a file as it was then: several parts of a run ask for it."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").digest()


def hold_out(
    items: Sequence[T], key: Callable[[T], str], fraction: float
) -> tuple[list[T], list[T]]:
    """Split into (kept, held out) by a hash of the content.

    Items with equal keys land on the same side, and an item keeps its side when others are
    added. With two or more distinct keys neither side is empty.
    """
    is_held = held_out(np.array([content_key(key(item)) for item in items], np.uint64), fraction)
    kept = [item for item, out in zip(items, is_held, strict=True) if not out]
    held = [item for item, out in zip(items, is_held, strict=True) if out]
    return kept, held


def count_shared(kept: Iterable[str], held: Iterable[str]) -> int:
    """How many of `held` are also in `kept`, by a hash of the content."""
    hashes = {hashlib.sha256(key.encode()).digest() for key in kept}
    return sum(hashlib.sha256(key.encode()).digest() in hashes for key in held)


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (line number, line). Raises DataError on bytes that are not UTF-8."""
    number = 0
    try:
        # decoded line by line: a text stream decodes in blocks and cannot say which line is bad
        with path.open("rb") as stream:
            for number, line in enumerate(stream, start=1):
                yield number, line.decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError:
        raise DataError(f"{path}:{number} is not UTF-8; save the file as UTF-8") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None


def _read_jsonl(path: Path) -> Iterator[Row]:
    for number, line in _lines(path):
        if not line.strip():
            continue
        try:
            values = json.loads(line)
            if "\\ud" in line.lower():
                json.dumps(values, ensure_ascii=False).encode()
        except json.JSONDecodeError as error:
            raise DataError(
                f"{path}:{number} is not JSON ({error.msg.removesuffix(' at')} at column "
                f"{error.colno}); each line must be one object"
            ) from None
        except UnicodeEncodeError:
            raise DataError(
                f"{path}:{number} holds half of a surrogate pair (`\\ud800` to `\\udfff`), "
                "which is no text; mend or drop the row"
            ) from None
        except (ValueError, RecursionError) as error:  # a number or a nesting without end
            raise DataError(f"{path}:{number} cannot be read as JSON: {brief(error, 80)}") from None
        if not isinstance(values, dict):
            raise DataError(f"{path}:{number} is not a JSON object; each line must be one")
        yield Row(str(path), number, values)


def _read_csv(path: Path) -> Iterator[Row]:
    csv.field_size_limit(CSV_FIELD_LIMIT)
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    reader = csv.reader((line for _, line in _lines(path)), delimiter=delimiter, strict=True)
    header: list[str] = []
    start = 1
    try:
        for cells in reader:
            if not header:
                header = _header(path, cells)
            elif cells:
                if len(cells) != len(header):
                    raise DataError(
                        f"{path}:{start} has {len(cells)} columns where the header has "
                        f"{len(header)}; quote a text that holds the separator"
                    )
                yield Row(str(path), start, dict(zip(header, cells, strict=True)))
            start = reader.line_num + 1
    except csv.Error as error:
        raise DataError(f"{path}:{start} is not valid CSV: {error}; check its quotes") from None


def _header(path: Path, cells: list[str]) -> list[str]:
    names = [cell.strip() for cell in cells]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise DataError(f"{path}:1 names the column `{repeated[0]}` twice; rename one")
    separator = next((mark for mark in (";", "\t", "|") if mark in names[0]), None)
    if len(names) == 1 and separator:
        raise DataError(
            f"{path}:1 seems to separate its columns by {separator!r}; save it with commas, or "
            "with tabs as .tsv"
        )
    return names


def _read_parquet(path: Path) -> Iterator[Row]:
    import pyarrow
    import pyarrow.parquet

    number = 0
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            classes = _class_names((file.schema_arrow.metadata or {}).get(b"huggingface"))
            for batch in file.iter_batches(batch_size=1024):
                for values in batch.to_pylist():
                    number += 1
                    yield Row(str(path), number, _with_names(values, classes))
    except UnicodeDecodeError:
        raise DataError(f"{path}: a text after row {number} is not UTF-8; save it again") from None
    except (pyarrow.ArrowException, OSError, ValueError, OverflowError) as error:
        raise DataError(f"{path} is not a whole Parquet file: {brief(error, 80)}") from None


def _class_names(metadata: bytes | None) -> dict[str, list[str]]:
    """The columns of class numbers, with the names, that a file from the hub tells of."""
    try:
        features = json.loads(metadata or b"{}")["info"]["features"]
        kinds = {key: kind for key, kind in features.items() if kind.get("_type") == "ClassLabel"}
        return {key: kind["names"] for key, kind in kinds.items() if kind.get("names")}
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}


def _with_names(values: Mapping[str, Any], classes: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """Put class names where the hub has numbers; None for its -1, which is no class."""
    row = dict(values)
    for key in classes.keys() & row.keys():
        number = row[key]
        if isinstance(number, int):
            row[key] = classes[key][number] if 0 <= number < len(classes[key]) else None
    return row


def _read_text(path: Path) -> Iterator[Row]:
    for number, line in _lines(path):
        if line.strip():
            yield Row(str(path), number, {"text": line.strip()})


def _read_hub(name: str, split: str, revision: str | None) -> Iterator[Row]:
    offline = (
        f"{name} is no local path and the hub cannot be reached; check the network or name a "
        "local file"
    )
    hub.refuse_placeholder_token()
    if not hub.is_reachable():
        raise DataError(offline)
    # imported here: it costs a second, and local files do not need it
    from datasets import load_dataset
    from datasets.exceptions import DatasetNotFoundError

    try:
        dataset = load_dataset(name, split=split, revision=revision, streaming=True)
    except DatasetNotFoundError:
        raise DataError(f"{name} is neither a local path nor a dataset of the hub") from None
    except ValueError as error:
        raise DataError(f"{name}: {brief(error)}") from None
    except (ConnectionError, OSError):
        raise DataError(offline) from None
    features = dataset.features or {}
    if features:
        dataset = dataset.decode(False)  # media as the files they are
    classes = {key: kind.names for key, kind in features.items() if hasattr(kind, "int2str")}
    number = 0
    try:
        for number, values in enumerate(dataset, start=1):
            yield Row(f"{name}[{split}]", number, _with_names(values, classes))
    except (ConnectionError, OSError) as error:
        raise DataError(
            f"{name}[{split}]: the hub stopped answering after row {number} "
            f"({type(error).__name__}); run again"
        ) from None


_READERS: dict[str, Callable[[Path], Iterator[Row]]] = {
    ".csv": _read_csv,
    ".tsv": _read_csv,
    ".jsonl": _read_jsonl,
    ".ndjson": _read_jsonl,
    ".parquet": _read_parquet,
    ".txt": _read_text,
}
