"""Rows of a data file that nobody has described: reading them, and guessing what columns hold."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from . import parquet
from .folder import READ_BYTES, Folder, suffix

Row = Mapping[str, Any]

TABLES = frozenset([".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".parquet", ".txt"])
IMAGES = frozenset([".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"])
AUDIO = frozenset([".wav", ".flac", ".mp3", ".ogg", ".opus", ".m4a"])

PEEK_BYTES = 2**15
WHOLE_BYTES = 2**19
"""Up to this size a file is read whole, which takes 15 ms."""
SAMPLE_BYTES = 2**18
"""As much of a larger one is read, half of it from the middle and the end."""
JUDGED_ROWS = 200
MAX_COLUMNS = 200
MAX_CLASSES = 200

_TEXTS = (
    "text sentence content review comment message utterance tweet body document description "
    "query question abstract transcript title"
)
_LABELS = "label labels class category target intent sentiment topic tag y classification polarity"
_NO_LABELS = "id idx index uuid url date timestamp split source lang language"
_PAIRS = (
    ("prompt", "completion"),
    ("instruction", "output"),
    ("instruction", "response"),
    ("prompt", "response"),
    ("question", "answer"),
    ("input", "output"),
)
_CONVERSATIONS = ("messages", "conversations", "conversation", "chat")


@dataclass
class Table:
    """What was read of a file."""

    columns: list[str] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    """Those that were read: all of a small file, some of a large one, none of a Parquet file."""
    num_rows: int = 0
    exact: bool = True
    problem: str = ""
    """Why a generated project cannot read the file as it is."""


def read(
    folder: Folder, path: str, whole: int = WHOLE_BYTES, sample: int = SAMPLE_BYTES
) -> Table | None:
    """Read a file of up to `whole` bytes, or a sample of a larger one; None if it is no table."""
    if suffix(path) == ".parquet":
        return _read_parquet(folder, path)
    size = folder.size(path)
    head = folder.read(path, size if size <= whole else sample // 2)
    if not head or b"\0" in head:
        return None
    exact = len(head) == size
    text, problem = _decode(head if exact else head[: head.rfind(b"\n") + 1] or head)
    table = _parse(path, text)
    if table is None or not table.rows:
        return None
    table.problem = problem or table.problem
    table.exact = exact
    table.num_rows = len(table.rows)
    if not exact:
        # The end of a sorted file has other classes and lengths than its beginning.
        others = _read_elsewhere(folder, path, text, table, size, sample // 4)
        read_bytes = len(text.encode()) + sum(others)
        table.num_rows = round(len(table.rows) * size / max(read_bytes, 1))
    return table


def _read_elsewhere(
    folder: Folder, path: str, text: str, table: Table, size: int, limit: int
) -> Iterator[int]:
    """Add rows from the middle and the end; yield the bytes that they take."""
    if suffix(path) == ".json":
        return
    header = text[: text.find("\n") + 1] if suffix(path) in (".csv", ".tsv") else ""
    for start in (size // 2, size - limit):
        lines = folder.read(path, limit, start).partition(b"\n")[2]
        lines = lines[: lines.rfind(b"\n") + 1]
        more = _parse(path, header + _decode(lines)[0]) if b"\0" not in lines else None
        if more and more.rows:
            table.rows += more.rows
            yield len(lines)


def _read_parquet(folder: Folder, path: str) -> Table | None:
    size = folder.size(path)
    length = parquet.footer_bytes(folder.read(path, 8, max(size - 8, 0)))
    if not 0 < length <= size - 12:
        return None
    start = folder.read(path, min(length, parquet.SCHEMA_BYTES), size - 8 - length)
    footer = parquet.read_footer(start)
    if footer is None or not footer.num_rows:
        return None
    return Table(_printable(footer.columns), [], footer.num_rows)


def _decode(data: bytes) -> tuple[str, str]:
    try:
        return data.decode("utf-8-sig"), ""
    except UnicodeDecodeError as error:
        if error.start >= len(data) - 3:  # the last character is cut
            return data[: error.start].decode("utf-8-sig"), ""
        return data.decode("latin-1"), "it is not UTF-8; save it as UTF-8"


def _parse(path: str, text: str) -> Table | None:
    kind = suffix(path)
    try:
        if kind in (".csv", ".tsv"):
            return _parse_csv(text, "\t" if kind == ".tsv" else ",")
        if kind in (".jsonl", ".ndjson"):
            return _table(_json_lines(text))
        if kind == ".json":
            problem = "it is one JSON document; write one object a line (JSONL)"
            return _table(_json_array(text), problem)
    except (ValueError, csv.Error, RecursionError):
        return None
    lines: list[Row] = [{"text": line.strip()} for line in text.split("\n") if line.strip()]
    return Table(["text"], lines) if kind == ".txt" else None


def _parse_csv(text: str, delimiter: str) -> Table | None:
    header, _, _ = text.partition("\n")
    problem = ""
    used = max(",;\t|", key=header.count)
    if header.count(used) > 0 == header.count(delimiter):
        names = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
        problem = f"{names[used]} separate its columns; write {names[delimiter]}"
        delimiter = used
    csv.field_size_limit(max(csv.field_size_limit(), READ_BYTES))  # its own refuses long documents
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    columns = [name.strip() for name in next(reader, [])]
    if not columns or len(columns) > MAX_COLUMNS or any(len(name) > 60 for name in columns):
        return None
    rows: list[Row] = []
    try:
        for cells in reader:
            if len(cells) == len(columns):
                rows.append(dict(zip(columns, cells, strict=True)))
    except csv.Error:
        pass  # what came before is enough to guess from
    return Table(_printable(columns), rows, problem=problem)


def _json_lines(text: str) -> Iterator[Any]:
    for line in text.split("\n"):
        if line.strip():
            try:
                yield json.loads(line)
            except (ValueError, RecursionError):
                continue


def _json_array(text: str) -> Iterator[Any]:
    """Yield the elements of an array, also of one that is cut, or stands in an object's field."""
    decoder = json.JSONDecoder()
    start = re.match(r'\s*(?:\{\s*"\w+"\s*:\s*)?\[\s*(?=\{)', text)
    at = start.end() if start else len(text)
    while at < len(text):
        try:
            value, at = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            return
        yield value
        comma = re.compile(r"\s*,\s*").match(text, at)
        at = comma.end() if comma else len(text)


def _table(values: Iterable[Any], problem: str = "") -> Table:
    rows: list[Row] = [v for v in values if isinstance(v, dict) and len(v) <= MAX_COLUMNS]
    columns = dict.fromkeys(name for row in rows[:JUDGED_ROWS] for name in row)
    return Table(_printable(columns), rows, problem=problem)


def _printable(names: Iterable[str]) -> list[str]:
    fit = [name for name in names if name.isprintable() and 0 < len(name.strip()) <= 60]
    return fit[:MAX_COLUMNS]


# ── What the columns hold ────────────────────────────────────────────────────────────────────────


def roles(table: Table) -> dict[str, str]:
    """Return role → column, of messages, prompt, completion, image, audio, text and label."""
    judged = spread(table.rows, JUDGED_ROWS)
    values = {
        name: [row[name] for row in judged if row.get(name) not in (None, "")]
        for name in table.columns
    }
    by_folded = {name.strip().lower(): name for name in reversed(table.columns)}
    found: dict[str, str] = {}
    for role, suffixes in (("image", IMAGES), ("audio", AUDIO)):
        for name in table.columns:
            if _holds_media(values[name], suffixes) or (not judged and name.lower() == role):
                found.setdefault(role, name)
    media = set(found.values())
    for name in _CONVERSATIONS:
        column = by_folded.get(name, "")
        if column and (not judged or _are(values[column], list)):
            return {**found, "messages": column}
    for prompt, completion in _PAIRS:
        if prompt in by_folded and completion in by_folded:
            columns = by_folded[prompt], by_folded[completion]
            if not judged or all(_are(values[column], str) for column in columns):
                return {**found, "prompt": columns[0], "completion": columns[1]}
    label = _label(values, by_folded, media)
    text = _text(values, by_folded, media | {label})
    named = {"text": text, "label": label}
    return {**found, **{role: column for role, column in named.items() if column}}


def _label(values: Mapping[str, list[Any]], by_folded: Mapping[str, str], media: set[str]) -> str:
    for name in _LABELS.split():
        column = by_folded.get(name, "")
        if column and column not in media and _is_class(values[column], named=True):
            return column
    fit = [
        column
        for column, held in values.items()
        if column not in media
        and column.lower() not in {*_NO_LABELS.split(), *_TEXTS.split()}
        and held
        and _is_class(held, named=False)
    ]
    return fit[0] if len(fit) == 1 else ""  # of several, nobody but the user knows


def _is_class(held: list[Any], named: bool) -> bool:
    if not held:
        return named  # a Parquet file, of which only names are known
    if not all(isinstance(value, str | int) for value in held):
        return False
    texts = {str(value) for value in held}
    if max(map(len, texts)) > 80 or any(re.fullmatch(r"-?\d*\.\d+", text) for text in texts):
        return False
    if named:
        return len(held) < 10 or len(texts) < len(held)
    return 2 <= len(texts) <= min(50, len(held) / 3)


def _text(values: Mapping[str, list[Any]], by_folded: Mapping[str, str], taken: set[str]) -> str:
    for name in _TEXTS.split():
        column = by_folded.get(name, "")
        if column and column not in taken and (not values[column] or _are(values[column], str)):
            return column
    lengths = {
        column: sum(map(len, held)) / len(held)
        for column, held in values.items()
        if column not in taken
        and held
        and _are(held, str)
        and sum(" " in value.strip() for value in held) > len(held) / 2
    }
    return max(lengths, key=lambda column: lengths[column]) if lengths else ""


def _holds_media(held: list[Any], suffixes: frozenset[str]) -> bool:
    paths = [value[0] if isinstance(value, list) and value else value for value in held]
    return _are(paths, str) and all(len(p) < 400 and suffix(p) in suffixes for p in paths)


def _are(held: list[Any], kind: type) -> bool:
    return bool(held) and all(isinstance(value, kind) for value in held)


def spread(rows: Sequence[Row], count: int) -> Sequence[Row]:
    """Return at most `count` rows, evenly from all."""
    return rows if len(rows) <= count else [rows[i * len(rows) // count] for i in range(count)]


def contents(row: Row, columns: Mapping[str, str]) -> str:
    """Return the text of a row that a model would read."""
    parts: list[str] = []
    for role in ("prompt", "completion", "text"):
        value = row.get(columns.get(role, ""))
        parts += [value] if isinstance(value, str) else []
    messages = row.get(columns.get("messages", ""))
    for message in messages if isinstance(messages, list) else []:
        if isinstance(message, dict):
            said = message.get("content", message.get("value"))
            parts += [said] if isinstance(said, str) else []
    return "".join(parts)
