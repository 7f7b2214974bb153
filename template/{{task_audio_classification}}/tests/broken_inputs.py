"""What is wrong with recordings and their classes, each in one row or one file."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile
from broken_files import Broken, Row, broken_files, write_rows

RATE_HZ = 16_000


def wav(wave: np.ndarray, rate_hz: int = RATE_HZ, subtype: str = "PCM_16") -> bytes:
    file = io.BytesIO()
    soundfile.write(file, wave, rate_hz, format="WAV", subtype=subtype)
    return file.getvalue()


def sound(seed: int) -> bytes:
    return wav(np.random.default_rng(seed).normal(0, 0.1, RATE_HZ // 2))


BAD_FILES = {
    "empty": b"",
    "text": b"no sound",
    "silence": wav(np.zeros(0)),
    "slow": wav(np.zeros(100), rate_hz=100),
    "head": sound(1)[:20],
    "hours": wav(np.zeros(700_000), rate_hz=1000),
}

GOOD: list[Row] = [{"audio": f"{i}.wav", "label": "ab"[i % 2]} for i in range(16)]


def write_media(folder: Path) -> None:
    for i in range(len(GOOD)):
        (folder / f"{i}.wav").write_bytes(sound(i))
    for name, content in BAD_FILES.items():
        (folder / f"{name}.wav").write_bytes(content)
    (folder / "folder.wav").mkdir()


def beside(*bad: Row, good: list[Row] = GOOD) -> Callable[[Path], Path]:
    """A table with these rows at its end, beside the files."""

    def make(folder: Path) -> Path:
        write_media(folder)
        return write_rows(folder / "rows.jsonl", [*good, *bad])

    return make


def row(name: str, label: object = "a") -> Row:
    return {"audio": name, "label": label}


def class_folders(*names: str) -> Callable[[Path], Path]:
    """A folder for each class; one that is called `empty` holds nothing."""

    def make(folder: Path) -> Path:
        for number, name in enumerate(names):
            (folder / "classes" / name).mkdir(parents=True)
            for i in range(0 if name == "empty" else 4):
                path = folder / "classes" / name / f"{i}.wav"
                path.write_bytes(sound(10 * number + i))
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
    Broken("no audio column", beside({"label": "a"}), "no column `audio`"),
    Broken("no label column", beside({"audio": "0.wav"}), "no column `label`"),
    Broken("file not there", beside(row("none.wav")), "none.wav cannot be read: No such"),
    Broken("file outside", beside(row("../none.wav")), "none.wav cannot be read: No such"),
    Broken("file a folder", beside(row("folder.wav")), "folder.wav cannot be read: Is a"),
    Broken("sound empty", beside(row("empty.wav")), "empty.wav is no"),
    Broken("sound a text", beside(row("text.wav")), "text.wav is no recording of a kind"),
    Broken("sound of no length", beside(row("silence.wav")), "it has a header and no sound"),
    Broken("sound too slow", beside(row("slow.wav")), "has 100 samples a second"),
    Broken("sound cut in its header", beside(row("head.wav")), "head.wav "),
    Broken("sound too long", beside(row("hours.wav")), "lasts 12 minutes; cut it"),
    Broken("an address", beside(row("https://a.b/c")), "is an address; download"),
    Broken("a path of zero bytes", beside(row("a\0")), "holds a zero byte"),
    Broken("base64 broken", beside(row("data:;base64,@")), "is no base64"),
    Broken("no path", beside(row("")), "`audio` is empty or neither"),
    Broken("label empty", beside(row("0.wav", "")), "`label` is empty or no class name"),
    Broken("label a list", beside(row("0.wav", ["a"])), "`label` is empty or no class name"),
    Broken("class without files", class_folders("a", "b", "empty"), "empty holds no"),
    Broken("folders of parts", class_folders("train", "val"), "which are no classes; set data.tr"),
    Broken("one class", class_folders("a"), "only the class `a`", only_training=True),
    Broken("only repeats", beside(good=GOOD[:1] * 9), "too few different|only the class"),
    Broken(
        "class unseen in training",
        with_evaluation(row("0.wav", "other")),
        "eval\.jsonl:1: class `other` never occurs in training",
        ("--data.eval", "{folder}/eval.jsonl"),
        only_training=True,
    ),
    Broken("two bad rows", beside(row("none.wav"), {"label": "a"}), TWO),
]
