"""What is wrong with images, each in one file."""

from __future__ import annotations

import io
import struct
import zlib

from broken_media import Media
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


BAD = {"empty": b"", "text": b"no image", "head": picture(1)[:30], "bomb": bomb()}
IMAGES = Media("image", ".png", picture, BAD)
GOOD = IMAGES.good
BROKEN = [
    *IMAGES.broken(),
    IMAGES.file("empty", "empty.png is no image of a kind"),
    IMAGES.file("text", "text.png is no image of a kind"),
    IMAGES.file("head", "head.png is no"),
    IMAGES.file("bomb", "bomb.png has more than 100 megapixels"),
]
