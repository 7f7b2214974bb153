"""Look for secrets in everything that a project wrote, also where they are packed or encoded.

    echo '{"HF_TOKEN": "hf_…"}' | python tests/canaries.py FOLDER...

prints a list of [name, file, form] as JSON. It runs in the project's own Python, which has pyarrow.
"""

from __future__ import annotations

import base64
import contextlib
import gzip
import io
import json
import lzma
import os
import sqlite3
import sys
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import quote

Found = list[tuple[str, str, str]]

DEEPEST = 4  # archives in archives
WANDB_BLOCK, WANDB_HEADER = 32 * 1024, 7  # LevelDB's log: checksum, length, kind of each chunk


def forms(secret: str) -> dict[str, bytes]:
    """The byte strings by which a secret is known, wherever in a text it stands."""
    raw = secret.encode()
    found = {"raw": raw, "hex": raw.hex().encode()}
    found |= {coding: secret.encode(f"{coding}-le") for coding in ("utf-16", "utf-32")}  # numpy
    found["url"] = quote(secret, safe="").encode()
    found["JSON"] = json.dumps(secret)[1:-1].encode()
    found["repr"] = repr(secret)[1:-1].encode()
    found |= {f"line {n}": line.encode() for n, line in enumerate(secret.splitlines(), start=1)}
    for shift in range(3):  # bytes before it move the letters of base64
        # the first and the last letters also depend on the neighbours
        coded = base64.b64encode(b"\0" * shift + raw + b"\0\0")
        inner = coded[-(-8 * shift // 6) : (8 * (shift + len(raw))) // 6]
        found[f"base64+{shift}"] = inner
        found[f"base64url+{shift}"] = inner.replace(b"+", b"-").replace(b"/", b"_")
    return found


def search(folders: list[Path], secrets: Mapping[str, str]) -> Found:
    """Every secret that is in a file's content or name."""
    wanted = {(name, form): text for name, s in secrets.items() for form, text in forms(s).items()}
    found: dict[tuple[str, str, str], None] = {}
    for folder in folders:
        for path in sorted(folder.rglob("*")) if folder.is_dir() else [folder]:
            shown = os.path.relpath(path, folder.parent)
            for name, secret in secrets.items():
                if secret in shown:
                    found[name, shown, "name"] = None
            if path.is_symlink() or not path.is_file():
                continue
            for view, content in views(path):
                for (name, form), text in wanted.items():
                    if text in content:
                        found[name, shown, f"{form} {view}".strip()] = None
    return list(found)


def views(path: Path) -> Iterator[tuple[str, bytes]]:
    """A file's bytes, then what they hold once unpacked."""
    content = path.read_bytes()
    yield from unpacked(content, "", 0)
    if content.startswith(b"SQLite format 3\0"):
        yield "sqlite", _sqlite(path)
    if content.startswith(b"PAR1"):
        yield "parquet", _parquet(content)
    if path.suffix == ".wandb":
        yield "wandb", _wandb(content)


def unpacked(content: bytes, view: str, depth: int) -> Iterator[tuple[str, bytes]]:
    """The bytes, and those in gzip, zlib, xz and zip (PyTorch's checkpoints, wheels, npz)."""
    yield view, content
    if depth == DEEPEST:
        return
    if content.startswith(b"\x1f\x8b"):
        yield from unpacked(gzip.decompress(content), f"{view}/gzip", depth + 1)
    elif content.startswith(b"\xfd7zXZ"):
        yield from unpacked(lzma.decompress(content), f"{view}/xz", depth + 1)
    elif content[:2] in (b"\x78\x01", b"\x78\x9c", b"\x78\xda"):
        with contextlib.suppress(zlib.error):  # two letters that happen to be the same
            yield from unpacked(zlib.decompress(content), f"{view}/zlib", depth + 1)
    elif content.startswith(b"PK\x03\x04"):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for name in archive.namelist():
                yield f"{view}/zip", name.encode()
                yield from unpacked(archive.read(name), f"{view}/zip", depth + 1)


def _sqlite(path: Path) -> bytes:
    """Every row: a long text is spread over pages in the file."""
    with sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True) as database:
        return "\n".join(database.iterdump()).encode(errors="replace")


def _parquet(content: bytes) -> bytes:
    import pyarrow.parquet

    table = pyarrow.parquet.read_table(io.BytesIO(content))
    return repr((table.schema.metadata, table.to_pylist())).encode()


def _wandb(content: bytes) -> bytes:
    """The records of an offline run in one piece: the log cuts them at the end of a block."""
    pieces, at = [], WANDB_HEADER  # the file's own header is as long
    while at + WANDB_HEADER <= len(content):
        left = WANDB_BLOCK - at % WANDB_BLOCK
        if left < WANDB_HEADER:
            at += left
            continue
        length = int.from_bytes(content[at + 4 : at + 6], "little")
        pieces.append(content[at + WANDB_HEADER : at + WANDB_HEADER + length])
        at += WANDB_HEADER + length
    return b"".join(pieces)


if __name__ == "__main__":
    print(json.dumps(search([Path(word) for word in sys.argv[1:]], json.load(sys.stdin))))
