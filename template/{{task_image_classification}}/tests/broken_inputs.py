"""What is wrong with images and their classes, each in one row or one file."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

from broken_files import Broken, Row, broken_files, write_rows
from PIL import Image


def picture(shade: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (32, 32), (shade, 99, 9)).save(file, "PNG")
    return file.getvalue()


def bomb() -> bytes:
    """The header of a PNG of 40,000 by 40,000 pixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", 40_000, 40_000, 8, 2, 0, 0, 0)
    size, check = struct.pack(">I", 13), struct.pack(">I", zlib.crc32(header))
    pixels = struct.pack(">I", 0) + b"IDAT" + struct.pack(">I", zlib.crc32(b"IDAT"))
    return b"\x89PNG\r\n\x1a\n" + size + header + check + pixels


BAD_FILES = {
    "empty": b"",
    "text": b"no image",
    "head": picture(1)[:30],
    "bomb": bomb(),
}

GOOD: list[Row] = [{"image": f"{i}.png", "label": "ab"[i % 2]} for i in range(16)]


def write_media(folder: Path) -> None:
    for i in range(len(GOOD)):
        (folder / f"{i}.png").write_bytes(picture(i))
    for name, content in BAD_FILES.items():
        (folder / f"{name}.png").write_bytes(content)
    (folder / "folder.png").mkdir()


def beside(*bad: Row, good: list[Row] = GOOD) -> Callable[[Path], Path]:
    """A table with these rows at its end, beside the files."""

    def make(folder: Path) -> Path:
        write_media(folder)
        return write_rows(folder / "rows.jsonl", [*good, *bad])

    return make


def row(name: str, label: object = "a") -> Row:
    return {"image": name, "label": label}


def class_folders(*names: str) -> Callable[[Path], Path]:
    """A folder for each class; one that is called `empty` holds nothing."""

    def make(folder: Path) -> Path:
        for number, name in enumerate(names):
            (folder / "classes" / name).mkdir(parents=True)
            for i in range(0 if name == "empty" else 4):
                path = folder / "classes" / name / f"{i}.png"
                path.write_bytes(picture(10 * number + i))
        return folder / "classes"

    return make


def with_evaluation(*rows: Row) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        write_media(folder)
        write_rows(folder / "eval.jsonl", rows)
        return write_rows(folder / "rows.jsonl", GOOD)

    return make


TWO = r"rows\.jsonl:17: .*; 1 more row cannot be used: .*rows\.jsonl:18"

BROKEN = [
    *broken_files(GOOD),
    Broken("no image column", beside({"label": "a"}), "no column `image`"),
    Broken("no label column", beside({"image": "0.png"}), "no column `label`"),
    Broken("file not there", beside(row("none.png")), "none.png cannot be read: No such"),
    Broken("file outside", beside(row("../none.png")), "none.png cannot be read: No such"),
    Broken("file a folder", beside(row("folder.png")), "folder.png cannot be read: Is a"),
    Broken("image empty", beside(row("empty.png")), "empty.png is no image of a kind"),
    Broken("image a text", beside(row("text.png")), "text.png is no image of a kind"),
    Broken("image cut in its header", beside(row("head.png")), "head.png is no"),
    Broken("image a bomb", beside(row("bomb.png")), "bomb.png has more than 100 megapixels"),
    Broken("an address", beside(row("https://a.b/c")), "is an address; download"),
    Broken("a path of zero bytes", beside(row("a\0")), "holds a zero byte"),
    Broken("base64 broken", beside(row("data:;base64,@")), "is no base64"),
    Broken("no path", beside(row("")), "`image` is empty or neither"),
    Broken("label empty", beside(row("0.png", "")), "`label` is empty or no class name"),
    Broken("label a list", beside(row("0.png", ["a"])), "`label` is empty or no class name"),
    Broken("class without files", class_folders("a", "b", "empty"), "empty holds no"),
    Broken("folders of parts", class_folders("train", "val"), "which are no classes; set data.tr"),
    Broken("one class", class_folders("a"), "only the class `a`", only_training=True),
    Broken("only repeats", beside(good=GOOD[:1] * 9), "too few different|only the class"),
    Broken(
        "class unseen in training",
        with_evaluation(row("0.png", "other")),
        "eval\.jsonl:1: class `other` never occurs in training",
        ("--data.eval", "{folder}/eval.jsonl"),
        only_training=True,
    ),
    Broken("two bad rows", beside(row("none.png"), {"label": "a"}), TWO),
]
