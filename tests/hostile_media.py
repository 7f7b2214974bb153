"""Images and sounds as attackers and careless clients send them: cut, false, absurd, or odd."""

from __future__ import annotations

import base64
import io
import json
import random
import struct
import wave
import zlib
from collections.abc import Iterator

from projects import Installed

# written by the project's own libraries: kinds that are no fault at all, and must not be one
ODD_IMAGES = """
import base64, io, json
import numpy as np
from PIL import Image

noise = np.random.default_rng(0).integers(0, 256, (20, 30, 4), dtype=np.uint8)
files = {}

def save(name, image, kind, **options):
    file = io.BytesIO()
    try:
        image.save(file, kind, **options)
    except (OSError, KeyError, ValueError):  # a kind that this Pillow cannot write
        return
    files[name] = base64.b64encode(file.getvalue()).decode()

rgb = Image.fromarray(noise[..., :3])
for kind in ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "AVIF", "ICO", "PPM", "EPS", "PDF"):
    save(kind, rgb, kind)
save("cmyk", rgb.convert("CMYK"), "JPEG")
save("cmyk tiff", rgb.convert("CMYK"), "TIFF")
save("grey and alpha", Image.fromarray(noise).convert("LA"), "PNG")
save("palette", rgb.convert("P"), "PNG", transparency=0)
save("one bit", rgb.convert("1"), "PNG")
save("16 bits", Image.fromarray(np.arange(600, dtype=np.uint16).reshape(20, 30) * 109), "PNG")
save("32 bits", Image.fromarray(np.arange(600, dtype=np.int32).reshape(20, 30)), "TIFF")
save("fractions", Image.fromarray(np.ones((20, 30), np.float32)), "TIFF")
save("lab", rgb.convert("LAB"), "TIFF")
save("progressive", rgb, "JPEG", progressive=True)
save("one pixel", Image.new("RGB", (1, 1)), "PNG")
save("a line", Image.new("RGB", (20000, 1)), "PNG")
save("a column", Image.new("RGB", (1, 20000)), "PNG")
frames = [Image.new("P", (30, 20), i) for i in range(200)]
save("animated", frames[0], "GIF", save_all=True, append_images=frames[1:], duration=1)
save("animated webp", rgb, "WEBP", save_all=True, append_images=frames[:20])
save("pages", rgb, "TIFF", save_all=True, append_images=[rgb] * 20)
exif = Image.Exif()
exif[0x0112] = 77
save("turned to nowhere", rgb, "JPEG", exif=exif)
save("false colours", rgb, "PNG", icc_profile=b"no profile" * 50)
print(json.dumps(files))
"""


def odd_images(project: Installed) -> list[bytes]:
    """Small files of many kinds, by the project's Pillow."""
    files = json.loads(project.python_code(ODD_IMAGES))
    assert len(files) > 20
    return [base64.b64decode(text) for text in files.values()]


def png(width: int, height: int, *, data: bytes = b"", depth: int = 8, kind: int = 2) -> bytes:
    """A PNG file that claims this size, whatever data it holds."""
    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
    parts = [b"\x89PNG\r\n\x1a\n", _chunk(b"IHDR", header), _chunk(b"IDAT", data)]
    return b"".join([*parts, _chunk(b"IEND", b"")])


def _chunk(name: bytes, data: bytes) -> bytes:
    crc = zlib.crc32(name + data)
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", crc)


# 12 megapixels, which are decoded until the data ends: much memory for a file of 30 kB
LARGE_AND_CUT = png(4000, 3000, data=zlib.compress(bytes(30_000_000), 9))


def false_images() -> list[bytes]:
    """Files that claim too much, hold too little, or are no images."""
    zeros = zlib.compress(bytes(20_000 * 3), 9)
    bomb = zlib.compress(bytes(30_000_000), 9)  # 29 kB
    text = _chunk(b"zTXt", b"Comment\0\0" + bomb)
    whole = png(4, 4, data=zlib.compress(bytes(4 * 13)))
    return [
        png(100_000, 100_000, data=zeros),
        png(2**31 - 1, 2**31 - 1),
        png(0, 0),
        png(1, 2**31 - 1, data=zeros),
        LARGE_AND_CUT,
        png(6000, 6000, data=bomb),
        png(30, 30, data=bomb),
        png(30, 30, data=b"no zlib stream"),
        png(30, 30, depth=13, kind=99),
        whole[:33] + text * 3 + whole[33:],
        whole[:-20],
        whole[:20],
        whole + b"trailing" * 1000,
        b"\x89PNG\r\n\x1a\n",
        b"GIF89a" + struct.pack("<HHBBB", 65535, 65535, 0xF7, 0, 0) + b"\0" * 900,
        b"BM" + struct.pack("<IHHIIiiHHIIiiII", 99, 0, 0, 54, 40, -8, 2**31 - 1, 1, 24, *[0] * 6),
        b"BM" + struct.pack("<IHHIIiiHHIIiiII", 99, 0, 0, 54, 40, 9, -9, 1, 77, 9, *[0] * 5),
        b"RIFF" + struct.pack("<I", 2**32 - 1) + b"WEBPVP8X" + b"\xff" * 40,
        b"II*\0" + struct.pack("<IHHHII", 8, 65535, 256, 4, 1, 2**31) + b"\0" * 50,
        b"\xff\xd8\xff\xe0" + b"\xff\xff" * 400,
        b"\xff\xd8\xff\xc0\x00\x11\x08\xff\xff\xff\xff\x03" + b"\1\x22\0" * 3,
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 99 99\n(%pipe%id) (r) file\n",
        b"%PDF-1.7\n1 0 obj\n<< /Type /Catalog >>\n",
        b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>',
        b'<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><svg>&a;</svg>',
        b"PK\x03\x04" + b"\0" * 60,
        b"8BPS\0\1" + b"\xff" * 60,
        b"\0\0\0\x20ftypavif" + b"\xff" * 200,
    ]


def wav(
    samples: bytes, *, rate: int = 8000, channels: int = 1, bits: int = 16, size: int | None = None
) -> bytes:
    """A WAV file that claims this format and `size` bytes of samples."""
    size = len(samples) if size is None else size
    block = max(1, channels * bits // 8) & 0xFFFF
    each_s = rate * block & 0xFFFFFFFF
    form = struct.pack("<HHIIHH", 1, channels, rate, each_s, block, bits)
    head = b"RIFF" + struct.pack("<I", min(size + 36, 2**32 - 1)) + b"WAVE"
    return (
        head + b"fmt " + struct.pack("<I", 16) + form + b"data" + struct.pack("<I", size) + samples
    )


def sounds() -> list[bytes]:
    """Whole, odd, false and cut recordings."""
    second = random.Random(0).randbytes(16_000)
    file = io.BytesIO()
    with wave.open(file, "wb") as plain:
        plain.setnchannels(2)
        plain.setsampwidth(3)
        plain.setframerate(44_100)
        plain.writeframes(second)
    nan = struct.pack("<f", float("nan")) * 4000
    floats = wav(nan, bits=32).replace(b"fmt \x10\0\0\0\1\0", b"fmt \x10\0\0\0\3\0")
    return [
        wav(second),
        file.getvalue(),
        floats,
        wav(b""),
        wav(b"\1"),
        wav(b"\0\0"),
        wav(bytes(16_000)),
        wav(second, size=2**32 - 1),
        wav(second, size=2**31),
        wav(second, rate=0),
        wav(second, rate=1),
        wav(second, rate=2**32 - 1),
        wav(second, channels=0),
        wav(second, channels=65_535),
        wav(second, bits=0),
        wav(second, bits=7),
        wav(second, bits=8),
        wav(second, bits=64),
        wav(bytes(1_100_000), rate=8000, bits=8),  # 137 s: too long
        wav(bytes(600_000), rate=50, bits=8),  # hours
        wav(second)[:40],
        wav(second)[:3000],
        wav(second).replace(b"RIFF", b"RF64"),
        wav(second).replace(b"RIFF", b"RIFX"),
        wav(second).replace(b"fmt \x10\0\0\0\1\0", b"fmt \x10\0\0\0\xff\xff"),
        b"fLaC\0\0\0\x22" + b"\xff" * 60,
        b"fLaC\0\0\0\x22\x10\0\x10\0" + b"\0" * 60,
        b"OggS\0\2" + b"\0" * 20 + b"\1\x1e\1vorbis" + b"\xff" * 60,
        b"ID3\4\0\0\x7f\x7f\x7f\x7f" + b"\xff\xfb\x90\0" * 200,
        b"\xff\xfb\x90\0" * 500,
        b"FORM\0\0\0\x40AIFFCOMM" + b"\xff" * 60,
        b"caff\0\1\0\0" + b"\xff" * 60,
        b".snd" + b"\xff" * 60,
        b"\0" * 100,
    ]


def broken(whole: list[bytes], chance: random.Random) -> Iterator[bytes]:
    """Endless: files with bytes turned, cut out, doubled, or cut off."""
    while True:
        content = bytearray(chance.choice(whole)[:20_000])
        for _ in range(chance.randint(1, 6)):
            place = chance.randrange(len(content) or 1)
            match chance.randrange(4):
                case 0 if content:
                    content[place] = chance.choice((0, 0xFF, 0x7F, 0x80, chance.randrange(256)))
                case 1:
                    del content[place : place + chance.randint(1, 40)]
                case 2:
                    content[place:place] = content[place : place + 40]
                case _:
                    content[place : place + 4] = chance.choice(
                        (b"\xff" * 4, b"\0" * 4, b"\x7f" * 4)
                    )
        yield bytes(content)


# given where a file in base64 belongs
ADDRESSES = (
    "http://169.254.169.254/latest/meta-data/iam/security-credentials/",
    "http://127.0.0.1:{port}/metrics",
    "http://localhost:{port}/admin/reload",
    "http://[::1]:{port}/healthz",
    "http://[::ffff:127.0.0.1]/x.png",
    "http://0x7f000001/x.png",
    "http://2130706433/x.png",
    "http://127.1/x.png",
    "https://user:pass@10.0.0.1/x.png",
    "HTTP://127.0.0.1/x.png",
    " http://127.0.0.1/x.png",
    "http:\\\\127.0.0.1\\x.png",
    "http://",
    "http://\0/",
    "http://[::/x",
    "http://a" + ".b" * 200,
    "//127.0.0.1/x.png",
    "file:///etc/passwd",
    "ftp://127.0.0.1/x",
    "gopher://127.0.0.1:{port}/_GET%20/metrics",
    "dict://127.0.0.1:{port}/info",
    "data:text/html,<script>alert(1)</script>",
    "data:text/html;base64,PHNjcmlwdD4=",
    "data:image/svg+xml;base64,PHN2Zy8+",
    "data:,hello",
    "data:",
    "data:;base64,",
    "data:image/png;base64",
    "data:image/png;base64,%89PNG",
    "data:image/png;charset=x;base64,iVBORw0KGgo=",
    "blob:null/4711",
    "javascript:alert(1)",
    "registry:model@champion",
    "../../../../etc/passwd",
    "/etc/passwd",
    "/dev/zero",
    "/proc/self/environ",
    "data/sample/example.png",
    "\\\\127.0.0.1\\share\\x.png",
    "C:\\Windows\\win.ini",
    "iVBORw0KGgo",
    "iVBO Rw0K\n Ggo=\t",
    "_-_-_-_-",
    "====",
    "é" * 40,
    "A" * 99_999,
)
