"""Tokens of whole files, made once and kept: training starts from them the next time.

A folder of the cache is named for everything that its tokens follow from: the bytes of the
files, the tokenizer, the options, and the code that reads and tokenises. It holds shards in the
safetensors format. A shard is written under a temporary name and moved, so that whoever goes on
after a kill finds the finished ones; their rows are read again but not tokenised. Where a shard
ends follows from the rows alone: two processes that fill a folder write the same files.
"""

from __future__ import annotations

import atexit
import hashlib
import itertools
import json
import os
import shutil
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
from safetensors.numpy import save

from .errors import DataError
from .rows import content_sha256, data_files, local_path
from .splitting import content_key
from .tokens import Encoded, TokenRows

SHARD_CHARACTERS = 2**23  # about 2 million tokens: seconds of work, and a few MB of memory
CHUNK_CHARACTERS, CHUNK_ROWS = 2**19, 1024  # what the tokenizer gets at once
OPEN_SHARDS = 64  # at once: each is an open file, of which a process may have only some hundred
NEWS_EVERY_S = 10.0
DONE = "done.json"
DTYPES = {"BOOL": "?", "U16": "<u2", "U32": "<u4", "U64": "<u8", "I32": "<i4", "I64": "<i8"}


class Numbered(Protocol):
    """A valid row."""

    @property
    def row(self) -> int:
        """Its line in the file."""


E = TypeVar("E", bound=Numbered)


@dataclass(frozen=True)
class Made:
    """What was made of a chunk of rows."""

    encoded: Encoded
    rows: list[int]
    keys: list[int]
    ends_shard: bool


def tokenised(
    cache: Path,
    location: str,
    identity: Mapping[str, Any],
    examples: Iterable[E],
    key: Callable[[E], str],
    encode: Callable[[Sequence[E]], Encoded],
    say: Callable[[str], None] = print,
) -> TokenRows:
    """The tokens of all `examples` of `location`, from the folder `cache` where they are there.

    `identity`: what the tokens follow from, besides the content of `location`. `key`: the content
    of an example. Raises DataError for rows that cannot be used.
    """
    content = content_sha256([location])
    folder = _folder(cache, location, {"content": content, **identity}, say)
    with _alone(folder) as locked:
        if not _is_done(folder, say):
            if locked:  # what a process was writing when it was killed
                for left in folder.glob(".*.[0-9]*"):
                    left.unlink(missing_ok=True)
            try:
                count = _build(folder, location, examples, key, encode, say)
                if content_sha256([location]) != content:
                    raise DataError(f"{location} changed while it was read; run again")
            except DataError:  # the data will be changed, and have a folder of its own
                for shard in folder.glob("*.safetensors"):
                    shard.unlink(missing_ok=True)
                raise
            _write(folder / DONE, json.dumps({"shards": count}).encode())
        count = json.loads((folder / DONE).read_text(encoding="utf-8"))["shards"]
        return _joined([_shard(folder, number) for number in range(count)])


def tokenizer_identity(tokenizer: Any) -> str:
    """A hash of the vocabulary, the rules, the special tokens and the chat template."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:
        # what comes before the tokens is how it last cut and padded, which changes all the time
        rules = backend.to_str().partition('"added_tokens"')[2]
    else:
        rules = json.dumps(sorted(tokenizer.get_vocab().items()))
    words = [type(tokenizer).__name__, rules, tokenizer.chat_template, tokenizer.special_tokens_map]
    words.append(getattr(tokenizer, "add_bos_token", None))
    words.append(getattr(tokenizer, "add_eos_token", None))
    words.append(getattr(tokenizer, "truncation_side", None))
    return hashlib.sha256(json.dumps(words, default=str).encode()).hexdigest()


def code_identity(*files: str) -> str:
    """A hash of modules: whoever changes how rows are read or tokenised gets new tokens."""
    digest = hashlib.sha256()
    for file in (*files, __file__):
        digest.update(Path(file).read_bytes())
    return digest.hexdigest()


# ── The folder ──


def _folder(
    cache: Path, location: str, identity: Mapping[str, Any], say: Callable[[str], None]
) -> Path:
    """The folder for these tokens; it exists and can be written."""
    path = local_path(location)
    if not path:
        return _temporary()  # a data set of the hub may change under its name
    # the same bytes are other rows in a file of another kind
    words = {"kinds": [file.suffix.lower() for file in data_files(path)], **identity}
    name = hashlib.sha256(json.dumps(words, sort_keys=True).encode()).hexdigest()[:24]
    folder = cache / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK) and not (folder / DONE).is_file():
            raise PermissionError(None, "it may not be written")
    except OSError as error:
        say(f"note: {cache} holds no tokens for the next run ({error.strerror}); data.cache_dir")
        return _temporary()
    return folder


def _temporary() -> Path:
    folder = tempfile.mkdtemp(prefix="tokens-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


@contextmanager
def _alone(folder: Path) -> Iterator[bool]:
    """Hold the folder's lock, or yield False; the system frees it when a process is killed.

    Where there are no locks, processes at the same time do the same work and write the same files.
    """
    try:
        import fcntl

        file = (folder / "lock").open("w")
    except (ImportError, OSError):  # Windows; a folder that may only be read
        yield False
        return
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX)  # whoever holds it tells how far it is
            locked = True
        except OSError:
            locked = False  # a network disk without locks
        yield locked


def _is_done(folder: Path, say: Callable[[str], None]) -> bool:
    try:
        count = json.loads((folder / DONE).read_text(encoding="utf-8"))["shards"]
    except (OSError, ValueError, KeyError, TypeError):
        return False
    if _whole_shards(folder) >= count:
        return True
    say(f"note: {folder} is damaged; its tokens are made again")
    return False


def _shard(folder: Path, number: int) -> Path:
    return folder / f"tokens-{number:05d}.safetensors"


def _whole_shards(folder: Path) -> int:
    """How many shards, from the first on, are whole."""
    for number in itertools.count():
        try:
            _read(_shard(folder, number))
        except (OSError, ValueError, KeyError):
            return number
    raise AssertionError


# ── Making tokens ──


def _build(
    folder: Path,
    location: str,
    examples: Iterable[E],
    key: Callable[[E], str],
    encode: Callable[[Sequence[E]], Encoded],
    say: Callable[[str], None],
) -> int:
    """Write the shards that are missing; how many there are then."""
    number = _whole_shards(folder)
    num_rows = sum(len(_read(_shard(folder, each))["rows"]) for each in range(number))
    if num_rows:
        say(f"{location}: going on after the {num_rows:,} rows that were tokenised before")
    left = itertools.islice(iter(examples), num_rows, None)
    told = time.monotonic()
    for shard in _shards(_encoded(_chunks(left, key), encode)):
        _write(_shard(folder, number), shard[0])
        number, num_rows = number + 1, num_rows + shard[1]
        if time.monotonic() - told > NEWS_EVERY_S:
            told = time.monotonic()
            say(f"{location}: {num_rows:,} rows tokenised")
    if not number:
        raise DataError(f"{location} has no rows; give a file with at least one")
    return number


def _chunks(
    examples: Iterable[E], key: Callable[[E], str]
) -> Iterator[tuple[list[E], list[int], bool]]:
    """(examples, their keys, whether a shard ends with them)."""
    rows: list[E] = []
    keys: list[int] = []
    in_chunk = in_shard = 0
    for example in examples:
        content = key(example)
        rows.append(example)
        keys.append(content_key(content))
        in_chunk += len(content)
        if in_chunk >= CHUNK_CHARACTERS or len(rows) == CHUNK_ROWS:
            in_shard += in_chunk
            ends = in_shard >= SHARD_CHARACTERS
            yield rows, keys, ends
            rows, keys, in_chunk = [], [], 0
            in_shard = 0 if ends else in_shard
    if rows:
        yield rows, keys, True


def _encoded(
    chunks: Iterable[tuple[list[E], list[int], bool]], encode: Callable[[Sequence[E]], Encoded]
) -> Iterator[Made]:
    """The chunks in order.

    A thread encodes, mostly outside of Python, while this one reads and checks the next rows.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="tokens") as thread:

        def make(examples: list[E], keys: list[int], ends_shard: bool) -> Made:
            return Made(encode(examples), [each.row for each in examples], keys, ends_shard)

        waiting: deque[Future[Made]] = deque()
        for chunk in chunks:
            waiting.append(thread.submit(make, *chunk))
            if len(waiting) > 2:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _shards(made: Iterable[Made]) -> Iterator[tuple[bytes, int]]:
    """(a shard as bytes, its number of rows)."""
    parts: list[Made] = []
    for part in made:
        parts.append(part)
        if part.ends_shard:
            yield _packed(parts)
            parts = []
    if parts:  # the last row happened to fill its chunk
        yield _packed(parts)


def _packed(parts: Sequence[Made]) -> tuple[bytes, int]:
    encoded = [part.encoded for part in parts]
    each = [tokens for part in encoded for tokens in part.tokens]
    tokens = np.concatenate(each)
    classes = [name for part in encoded for name in part.classes]
    names = sorted(set(classes))
    numbers = {name: number for number, name in enumerate(names)}
    arrays = {
        "tokens": tokens.astype(np.uint16 if tokens.max(initial=0) < 2**16 else np.uint32),
        "lengths": np.array([len(tokens) for tokens in each], dtype=np.int64),
        "rows": np.array([row for part in parts for row in part.rows], dtype=np.int64),
        "keys": np.array([key for part in parts for key in part.keys], dtype=np.uint64),
    }
    if encoded[0].trained:
        arrays["trained"] = np.concatenate([mask for part in encoded for mask in part.trained])
    for name in encoded[0].columns:
        column = np.concatenate([part.columns[name] for part in encoded])
        arrays[f"column.{name}"] = column.astype(np.int32)
    if classes:
        arrays["column.class"] = np.array([numbers[name] for name in classes], dtype=np.int32)
    return save(arrays, {"classes": json.dumps(names)}), len(each)


def _write(path: Path, content: bytes) -> None:
    """Write a file that appears whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


# ── Reading them ──


def _read(path: Path) -> dict[str, Any]:
    """The arrays of a shard as views of the file, and `classes`. Raises ValueError, OSError."""
    with path.open("rb") as file:
        header_bytes = int.from_bytes(file.read(8), "little")
        if header_bytes > path.stat().st_size:
            raise ValueError(f"{path} is cut off")
        header = json.loads(file.read(header_bytes))
    metadata = header.pop("__metadata__")
    start = 8 + header_bytes
    if path.stat().st_size != start + max(entry["data_offsets"][1] for entry in header.values()):
        raise ValueError(f"{path} is cut off")
    content = np.asarray(np.memmap(path, dtype=np.uint8, mode="r"))
    arrays: dict[str, Any] = {"classes": json.loads(metadata["classes"])}
    for name, entry in header.items():
        first, last = entry["data_offsets"]
        arrays[name] = content[start + first : start + last].view(DTYPES[entry["dtype"]])
    return arrays


def _small(path: Path) -> dict[str, Any]:
    """What a shard holds besides tokens, in memory: the file is closed again."""
    arrays = _read(path)
    names = arrays.keys() - {"tokens", "trained", "classes"}
    return {"classes": arrays["classes"], **{name: np.array(arrays[name]) for name in names}}


def _joined(paths: Sequence[Path]) -> TokenRows:
    """All shards as one: what is small is taken into memory, tokens are read when they are used."""
    shards = [_small(path) for path in paths]
    counts = [len(shard["rows"]) for shard in shards]
    classes = sorted({name for shard in shards for name in shard["classes"]})
    numbers = {name: number for number, name in enumerate(classes)}

    def join(name: str) -> np.ndarray:
        return np.concatenate([shard[name] for shard in shards])

    columns = {
        name.removeprefix("column."): join(name)
        for name in (shards[0] if shards else ())
        if name.startswith("column.")
    }
    if classes:
        renumbered = [
            np.array([numbers[name] for name in shard["classes"]], np.int32)[shard["column.class"]]
            for shard in shards
        ]
        columns["class"] = np.concatenate(renumbered)
    return TokenRows(
        shard=lru_cache(OPEN_SHARDS)(lambda number: _read(paths[number])),
        shard_starts=np.cumsum([0, *counts[:-1]]),
        starts=np.concatenate([np.cumsum(shard["lengths"]) - shard["lengths"] for shard in shards]),
        lengths=join("lengths"),
        rows=join("rows"),
        keys=join("keys"),
        columns=columns,
        classes=classes,
    )
