"""The data that lies in a folder: the most plausible file or folder to train on."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any

from ..findings import DataFile
from .folder import Folder, suffix
from .tables import (
    AUDIO,
    IMAGES,
    MAX_CLASSES,
    PEEK_BYTES,
    TABLES,
    Table,
    contents,
    read,
    roles,
    spread,
)

BYTES_PER_TOKEN = 4
PEEKED_FILES = 8
MEASURED_ROWS = 1_000
MEASURED_MEDIA = 50

_TRAIN = re.compile(r"(?i)(?:^|[^a-z])train(?:ing)?(?:[^a-z]|$)")
_HELD_OUT = re.compile(
    r"(?i)(?:^|[^a-z])(?:test|dev|val|valid|validation|eval|holdout)(?:[^a-z]|$)"
)
_HELD_OUT_NAMES = ("eval", "validation", "valid", "val", "dev", "test")
_DATA_FOLDERS = re.compile(r"(?i)(?:^|/)(?:data|dataset|datasets|corpus|raw)(?:/|$)")
# Where images are pictures for a page.
_PAGES = re.compile(r"(?i)(?:^|/)(?:docs?|assets|static|public|www|figures|screenshots)(?:/|$)")
# Names that programs give to files with data suffixes.
_NO_DATA = re.compile(
    r"(?i)(?:requirements|constraints|readme|licen[cs]e|notice|changelog|changes|todo|notes|robots|"
    r"vocab|merges|cmakelists|package|package-lock|tsconfig|config|settings|tokenizer|"
    r"special_tokens_map|metrics|results?|history|log|output|predictions?|submission|"
    r"version|authors|contributors|citation)(?:[^a-z].*)?"
)


def find(folder: Folder) -> DataFile | None:
    """Return the best of what there is, or None."""
    promising = sorted(_candidates(folder))[:PEEKED_FILES]
    best: DataFile | None = None
    best_rank: tuple[int, ...] = ()
    for order, (*_, path) in enumerate(promising):
        table = read(folder, path, PEEK_BYTES, PEEK_BYTES)
        columns = roles(table) if table else {}
        if not table:
            continue
        kind = suffix(path)[1:]
        candidate = DataFile(path, kind, table.num_rows, table.exact, columns)
        rank = (_worth(candidate), -order)
        if candidate.task and rank > best_rank:
            best, best_rank = candidate, rank
    if best_rank < (3,):
        best = _media_folder(folder) or best
    return _measure(folder, best) if best and best.columns else best


def _candidates(folder: Folder) -> Iterator[tuple[int, int, int, str]]:
    """Yield (rank of its name, depth, -bytes, path): the smallest is the most promising."""
    for path in folder.paths():
        pure = PurePosixPath(path)
        kind = suffix(path)
        if kind not in TABLES or (_NO_DATA.fullmatch(pure.stem) and not _TRAIN.search(pure.stem)):
            continue
        in_data = bool(_DATA_FOLDERS.search(str(pure.parent)))
        train = bool(_TRAIN.search(path))
        if kind == ".txt" and not (in_data or train or _DATA_FOLDERS.search(pure.stem)):
            continue  # notes, rather than data
        rank = 2 * bool(_HELD_OUT.search(path)) - 4 * train - in_data
        size = folder.size(path)
        if size:
            yield rank, path.count("/"), -size, path


def _worth(data: DataFile) -> int:
    """How sure it is that this is data to train on."""
    if data.task is None:
        return 0
    if data.format == "txt" or data.columns.keys() == {"text"}:
        return 4 if _TRAIN.search(data.path) and data.format != "txt" else 2
    return 3 + 2 * bool(_TRAIN.search(data.path)) - bool(_HELD_OUT.search(data.path))


def _measure(folder: Folder, data: DataFile) -> DataFile:
    """Read more of the file, for what its numbers are."""
    table = read(folder, data.path)
    if table is None:  # it was there a moment ago
        return data
    columns = roles(table) or data.columns
    tokens = sorted(
        -(-len(text.encode("utf-8", "surrogatepass")) // BYTES_PER_TOKEN)
        for text in (contents(row, columns) for row in spread(table.rows, MEASURED_ROWS))
        if text
    )
    label = columns.get("label", "")
    classes = {str(row[label]).strip() for row in table.rows if row.get(label) not in (None, "")}
    measured = replace(
        data,
        columns=columns,
        rows=table.num_rows,
        rows_exact=table.exact,
        mean_tokens=round(sum(tokens) / len(tokens)) if tokens else None,
        p95_tokens=tokens[(len(tokens) * 95 - 1) // 100] if tokens else None,
        max_tokens=tokens[-1] if tokens else None,
        classes=len(classes) or None,
        bytes=folder.size(data.path),
        eval_path=_beside(folder, data.path),
    )
    return replace(measured, problem=table.problem or _misnamed(measured, table))


def _misnamed(data: DataFile, table: Table) -> str:
    """Return which columns have other names than a generated project reads."""
    wanted = ["messages", "prompt", "completion", "image", "audio"]
    if data.task == "llm":
        wanted.append("text")
    wrong = [role for role in wanted if data.columns.get(role, role) != role]
    if wrong:
        renames = " and ".join(f"`{data.columns[role]}` to `{role}`" for role in wrong)
        return f"rename its column {renames}"
    if data.task == "multimodal" and "messages" not in data.columns:
        return "a row needs `image` and `messages`"
    if "messages" in data.columns and table.rows:
        held: Any = next((row["messages"] for row in table.rows if row.get("messages")), None)
        turn = held[0] if isinstance(held, list) else None
        if not isinstance(turn, dict) or not {"role", "content"} <= turn.keys():
            return "a message needs `role` and `content`"
    if data.classes == 1 and data.rows_exact:
        return f"`{data.columns['label']}` has only one class"
    if data.classes and data.classes > MAX_CLASSES:
        return f"`{data.columns['label']}` has {data.classes} values; are they classes?"
    return ""


def _beside(folder: Folder, path: str) -> str | None:
    """Return the evaluation data of the same kind beside a file or folder named for training."""
    pure = PurePosixPath(path)
    parent = "" if str(pure.parent) == "." else str(pure.parent)
    there = {*folder.files.get(parent, ()), *folder.folders.get(parent, ())}
    for name in _HELD_OUT_NAMES:
        other = re.sub(r"(?i)train(?:ing)?", name, pure.name)
        if other != pure.name and other in there:
            return f"{parent}/{other}" if parent else other
    return None


def _media_folder(folder: Folder) -> DataFile | None:
    """Return the folder whose folders hold the most images or recordings, a class each."""
    best: DataFile | None = None
    for parent, names in folder.folders.items():
        if _PAGES.search(parent):
            continue
        for kind, suffixes in (("image_folder", IMAGES), ("audio_folder", AUDIO)):
            found = _classes(folder, parent, names, kind, suffixes)
            if found and (best is None or _media_rank(found) > _media_rank(best)):
                best = found
    return best


def _media_rank(data: DataFile) -> tuple[bool, bool, int]:
    path = data.path
    return bool(_TRAIN.search(path)), not _HELD_OUT.search(path), data.rows


def _classes(
    folder: Folder, parent: str, names: list[str], kind: str, suffixes: frozenset[str]
) -> DataFile | None:
    listed: list[list[str]] = []
    exact = parent not in folder.capped
    for name in names:
        path = f"{parent}/{name}" if parent else name
        files = [file for file in folder.files.get(path, ()) if suffix(file) in suffixes]
        exact = exact and path not in folder.capped
        splits = _TRAIN.search(name) or _HELD_OUT.search(name)
        if files and not splits:
            listed.append([f"{path}/{file}" for file in files])
    unread = sum(not folder.files.get(f"{parent}/{name}" if parent else name) for name in names)
    others = len(names) - unread - len(listed)
    # One image in each of two folders is chance; and beside classes there is nothing else.
    if len(listed) < 2 or min(map(len, listed)) < 2 or (others if parent else others > len(listed)):
        return None
    classes = len(names) if not exact else len(listed)
    rows = round(sum(map(len, listed)) / len(listed) * classes)
    measured = [files[0] for files in listed[:MEASURED_MEDIA]]
    size = sum(map(folder.size, measured)) * rows // len(measured)
    return DataFile(
        parent or ".",
        kind,
        rows,
        exact,
        classes=classes,
        bytes=size,
        eval_path=_beside(folder, parent),
        problem="" if parent else "move the folders of the classes into one, such as data/train",
    )
