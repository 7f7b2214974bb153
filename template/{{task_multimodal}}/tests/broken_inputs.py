"""What is wrong with images and conversations about them, each in one row or one file."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from broken_files import Broken, Row, broken_files, write_rows
from PIL import Image

QUESTION = {"role": "user", "content": "What is it?"}
ANSWER = {"role": "assistant", "content": "A field."}


def picture(shade: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (32, 32), (shade, 99, 9)).save(file, "PNG")
    return file.getvalue()


def row(name: str, **changed: Any) -> Row:
    return {"image": name, "messages": [QUESTION, ANSWER], **changed}


GOOD = [row(f"{i}.png") for i in range(12)]


def bomb() -> bytes:
    """The header of a PNG of 40,000 by 40,000 pixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", 40_000, 40_000, 8, 2, 0, 0, 0)
    size, check = struct.pack(">I", 13), struct.pack(">I", zlib.crc32(header))
    pixels = struct.pack(">I", 0) + b"IDAT" + struct.pack(">I", zlib.crc32(b"IDAT"))
    return b"\x89PNG\r\n\x1a\n" + size + header + check + pixels


def beside(*bad: Row) -> Callable[[Path], Path]:
    """A table with these rows at its end, beside the images."""

    def make(folder: Path) -> Path:
        for i in range(len(GOOD)):
            (folder / f"{i}.png").write_bytes(picture(i))
        (folder / "text.png").write_text("no image")
        (folder / "empty.png").touch()
        (folder / "head.png").write_bytes(picture(1)[:30])
        (folder / "bomb.png").write_bytes(bomb())
        (folder / "folder.png").mkdir()
        return write_rows(folder / "rows.jsonl", [*GOOD, *bad])

    return make


def chat(*turns: Any) -> dict[str, Any]:
    return row("0.png", messages=list(turns))


LONG = [row(f"{i}.png", messages=[{**QUESTION, "content": "a " * 999}, ANSWER]) for i in range(9)]
TWO = r"rows\.jsonl:13: .*; 1 more row cannot be used: .*rows\.jsonl:14"

BROKEN = [
    *broken_files(GOOD),
    Broken("no image column", beside({"messages": [QUESTION, ANSWER]}), "no column `image`"),
    Broken("no messages", beside({"image": "0.png"}), "no column `messages`"),
    Broken("image not there", beside(row("none.png")), "none.png cannot be read: No such file"),
    Broken("image outside", beside(row("../none.png")), "none.png cannot be read: No such file"),
    Broken("image a folder", beside(row("folder.png")), "folder.png cannot be read: Is a dir"),
    Broken("image a text", beside(row("text.png")), "text.png is no image of a kind"),
    Broken("image empty", beside(row("empty.png")), "empty.png is no image of a kind"),
    Broken("image cut in its header", beside(row("head.png")), "head.png is no"),
    Broken("image a bomb", beside(row("bomb.png")), "bomb.png has more than 100 megapixels"),
    Broken("image an address", beside(row("https://a.b/c.png")), "is an address; download"),
    Broken("image null", beside(row("0.png", image=None)), "`image` is empty or neither"),
    Broken("no image in the list", beside(row("0.png", image=[])), "has no image"),
    Broken("zero bytes in a path", beside(row("a\0.png")), "holds a zero byte"),
    Broken("base64 broken", beside(row("data:image/png;base64,@")), "is no base64"),
    Broken("messages a text", beside(row("0.png", messages="Hi.")), "must be a list"),
    Broken("no assistant turn", beside(chat(QUESTION)), "ends without an assistant"),
    Broken("assistant first", beside(chat(ANSWER)), "starts with the assistant"),
    Broken("same role twice", beside(chat(QUESTION, QUESTION)), "must take turns"),
    Broken("unknown part", beside(chat({**QUESTION, "content": [{"type": "x"}]})), "neither a"),
    Broken(
        "all rows too long",
        lambda f: beside()(f) and write_rows(f / "rows.jsonl", LONG),
        r"rows are longer than train\.max_seq_len \(256 tokens.*raise it",
    ),
    Broken(
        "one image",
        lambda f: beside()(f) and write_rows(f / "rows.jsonl", GOOD[:1] * 9),
        "too few different",
    ),
    Broken("two bad rows", beside(row("none.png"), {"image": "0.png"}), TWO),
]
