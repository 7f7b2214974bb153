"""Files that no task can read, and the form of each task's own table of broken inputs."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Row = dict[str, Any]


@dataclass(frozen=True)
class Broken:
    """An input, and what the sentence about it holds."""

    name: str
    make: Callable[[Path], Path | str]
    """Writes it into a folder, and returns what `data.train` is."""
    says: str
    """A regular expression."""
    words: tuple[str, ...] = ()
    """More of the command line; `{folder}` is the folder."""
    only_training: bool = False
    """Preparing it is no mistake."""


def write_rows(path: Path, rows: Sequence[Row]) -> Path:
    """As JSON lines."""
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
    path.write_text("".join(lines), encoding="utf-8")
    return path


def bad_rows(good: Sequence[Row], *bad: Row) -> Callable[[Path], Path]:
    """A table with these rows at its end."""
    return lambda folder: write_rows(folder / "rows.jsonl", [*good, *bad])


def content(name: str, value: bytes) -> Callable[[Path], Path]:
    """A file that holds `value`."""

    def make(folder: Path) -> Path:
        (folder / name).write_bytes(value)
        return folder / name

    return make


def broken_files(good: Sequence[Row]) -> list[Broken]:
    """For every task, from rows of it that are well."""
    half = b'{"text": "\\ud800"}\n'
    first = (json.dumps(good[0]) + "\n").encode()

    def empty_folder(folder: Path) -> Path:
        (folder / "empty").mkdir()
        return folder / "empty"

    def half_parquet(folder: Path) -> Path:
        import pyarrow
        import pyarrow.parquet

        path = folder / "rows.parquet"
        pyarrow.parquet.write_table(pyarrow.table({"text": ["a"] * 100}), path)
        path.write_bytes(path.read_bytes()[:-40])
        return path

    return [
        Broken("file not there", lambda f: f / "none.jsonl", "no such file; check the path"),
        Broken("folder not there", lambda f: f / "none", "no such file; check the path"),
        Broken("folder without data", empty_folder, "empty holds n.*"),
        Broken("empty file", content("rows.jsonl", b""), "has no rows; give"),
        Broken("header only", content("rows.csv", b"text,label\n"), "has no rows; give"),
        Broken("another kind of file", content("rows.xlsx", b"PK"), "unknown kind of file"),
        Broken("not UTF-8", content("rows.jsonl", first + b'{"a": "\xff"}\n'), ":2 is not UTF-8"),
        Broken("UTF-16", content("rows.csv", "text,label\na,b\n".encode("utf-16")), "not UTF-8"),
        Broken("zero bytes", content("rows.jsonl", first + b"\0" * 50), ":2 is not JSON"),
        Broken("broken line", content("rows.jsonl", first + b'{"text": "a\n'), ":2 is not JSON"),
        Broken("half a surrogate", content("rows.jsonl", first + half), ":2 holds half of a surro"),
        Broken("no object", content("rows.jsonl", first + b'["a"]\n'), ":2 is not a JSON object"),
        Broken("open quote", content("rows.csv", b'text,label\n"a,b\n'), ":2 is not valid CSV"),
        Broken("ragged CSV", content("rows.csv", b"text,label\na,b,c\n"), ":2 has 3 columns"),
        Broken("half a Parquet file", half_parquet, "is not a whole Parquet file"),
        Broken("hub without network", lambda f: "someone/something", "the hub cannot be reached"),
        Broken("a row without columns", content("rows.jsonl", b"{}\n"), ":1: .*it has none"),
    ]
