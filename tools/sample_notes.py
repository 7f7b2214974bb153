"""Write the sample sounds into the template: notes of instruments, as FLAC files in Parquet.

    apt-get install fluid-soundfont-gm
    uv run --with soundfile,soxr,numpy,pyarrow tools/sample_notes.py [template folder]

The recordings are those of the FluidR3 sound font (MIT license), which Debian packages; it is no
dependency of this repository, so this script is run by hand. The order is fixed by a seed; the
bytes are the same with the same versions of the packages.
"""

import io
import random
import re
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow
import pyarrow.parquet
import soundfile
import soxr

FONT = Path("/usr/share/sounds/sf2/FluidR3_GM.sf2")
SEED = 20240229
RATE_HZ = 16_000
SECONDS, SHORTEST_S = 0.8, 0.3  # shorter ones, most of them drums, end in silence
TRAIN_NOTES, EVAL_NOTES = 36, 8  # of each class

# class: how the names of its recordings begin
CLASSES = {
    "bass guitar": "Finger Bass|Picked|Fretless|Slap Bass|Acoustic Bass|Pop ",
    "bowed strings": "Violin|Viola|Cello",
    "drums": (
        "(.*(Kick|Snr|Snare|Bass Drum|Tom|Conga|Timbale|Tumba|Taiko|Timpani))"
        "|(Flr|Hi|Low|Low Flr|Md|MdHi) Studio"
    ),
    "mallets": "Xylo|Marimba|Vibraphone|Celesta|Glocken|Music Box|Steel Drum|Tubular",
    "organ": "Church Organ|Rock Organ|B3|reed organ|Accordian",
}


def main(template: Path) -> None:
    """Write train.parquet, eval.parquet and example.flac."""
    rng = random.Random(SEED)
    rows: dict[str, list[tuple[bytes, str]]] = {"train": [], "eval": []}
    notes = dict(read_notes(FONT))
    for label, pattern in CLASSES.items():
        names = sorted(name for name in notes if re.match(pattern, name))
        rng.shuffle(names)
        assert len(names) >= TRAIN_NOTES + EVAL_NOTES, f"{label}: {len(names)} notes"
        files = [(flac(*notes[name]), label) for name in names[: TRAIN_NOTES + EVAL_NOTES]]
        rows["eval"] += files[:EVAL_NOTES]
        rows["train"] += files[EVAL_NOTES:]
    folder = template / "{{task_audio_classification}}/data/sample"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "example.flac").write_bytes(rows["eval"][0][0])
    for name, part in rows.items():
        rng.shuffle(part)
        write(folder / f"{name}.parquet", part)


def read_notes(path: Path) -> Iterator[tuple[str, tuple[np.ndarray, int]]]:
    """Yield name, waveform (N,) in [-1, 1] and rate of each recording; of stereo the left side.

    The format: SoundFont 2.04, sections 4.2 (RIFF), 6.1 (smpl) and 7.10 (shdr).
    """
    with path.open("rb") as file:
        chunks = dict(_chunks(file, path.stat().st_size))
        start, size = chunks[b"shdr"]
        file.seek(start)
        headers = file.read(size)
        for name, first, end, rate, kind in _headers(headers):
            if kind in (1, 4) and (end - first) / rate >= SHORTEST_S:  # mono, left
                file.seek(chunks[b"smpl"][0] + 2 * first)
                sound = np.frombuffer(file.read(2 * (end - first)), "<i2") / 2**15
                yield re.sub(r"\W*\(?L\)?$", "", name), (sound, rate)


def _chunks(file: BinaryIO, end: int) -> Iterator[tuple[bytes, tuple[int, int]]]:
    while file.tell() < end:
        name, size = struct.unpack("<4sI", file.read(8))
        start = file.tell()
        if name in (b"RIFF", b"LIST"):
            file.seek(start + 4)
            yield from _chunks(file, start + size)
        else:
            yield name, (start, size)
        file.seek(start + size + size % 2)


def _headers(content: bytes) -> Iterator[tuple[str, int, int, int, int]]:
    for values in struct.iter_unpack("<20s5IBbHH", content):
        name, first, end, _, _, rate, *_, kind = values
        if rate:
            yield name.split(b"\0")[0].decode("latin-1"), first, end, rate, kind


def flac(sound: np.ndarray, rate: int) -> bytes:
    """Return the first 0.8 s at 16 kHz as a FLAC file of 8 bits: a third of the size of 16."""
    length = round(SECONDS * RATE_HZ)
    sound = soxr.resample(sound, rate, RATE_HZ)[:length]
    sound = np.pad(sound * (0.9 / np.abs(sound).max()), (0, length - len(sound)))
    file = io.BytesIO()
    soundfile.write(file, sound, RATE_HZ, "PCM_S8", format="FLAC", compression_level=1.0)
    return file.getvalue()


def write(path: Path, rows: list[tuple[bytes, str]]) -> None:
    """Write rows in the form of the Hugging Face Hub: `audio` with bytes and path, `label`."""
    records = [{"audio": {"bytes": audio, "path": None}, "label": label} for audio, label in rows]
    audio_type = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    schema = pyarrow.schema([("audio", audio_type), ("label", pyarrow.string())])
    table = pyarrow.Table.from_pylist(records, schema=schema)
    pyarrow.parquet.write_table(table, path, compression="zstd")


if __name__ == "__main__":
    default = Path(__file__).resolve().parents[1] / "template"
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else default)
