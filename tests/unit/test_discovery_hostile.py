"""Large, broken and hostile folders are looked through quickly, and nothing in them is run."""

from __future__ import annotations

import base64
import json
import os
import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from data_folders import CHAT, PARQUET_MESSAGES, data_of, lines, table, tickets, write
from extensions.discovery import discover, parquet
from extensions.discovery.folder import MAX_ENTRIES_PER_FOLDER

pytestmark = pytest.mark.unit

# Twice the goal for an ordinary folder: here other tests run beside.
MAX_SECONDS = 0.040
# Whatever lies in the folder.
MAX_HOSTILE_SECONDS = 1.0


def test_the_rows_of_a_large_file_are_extrapolated(tmp_path: Path) -> None:
    rng = random.Random(0)
    for name, make in (("a.jsonl", _jsonl_row), ("b.csv", _csv_row)):
        rows = [make(i, rng.randrange(20, 200)) for i in range(30_000)]
        folder = tmp_path / name[0]
        write(folder, {name: ("text,label\n" if name == "b.csv" else "") + "".join(rows)})
        data = data_of(folder)
        assert not data.rows_exact and abs(data.rows - 30_000) < 3_000
        assert data.classes == 3, "the file is sorted by class: its end was looked at, too"
        assert f"about {data.rows:,} rows" in data.description


def _jsonl_row(number: int, length: int) -> str:
    return json.dumps({"text": "wo rd " * (length // 6), "label": number // 10_000}) + "\n"


def _csv_row(number: int, length: int) -> str:
    return f'"{"wo, rd" * (length // 6)}",{number // 10_000}\n'


def _huge(folder: Path) -> None:
    with (folder / "train.csv").open("wb") as stream:
        stream.write(b"text,label\n")
        stream.truncate(5 * 2**30)  # sparse: takes no room
    with (folder / "train.jsonl").open("wb") as stream:
        stream.write(b'{"text": "')
        stream.seek(5 * 2**30)
        stream.write(b'"}\n')


def _binary(folder: Path) -> None:
    rng = random.Random(0)
    for kind in ("csv", "tsv", "jsonl", "json", "parquet", "txt", "py", "ipynb", "toml", "cfg"):
        write(folder, {f"train.{kind}": rng.randbytes(2**20)})
        write(folder, {f"data.{kind}": b"PAR1" + rng.randbytes(2**20) + b"\xff\xff\x0f\x00PAR1"})
    for name in ("pyproject.toml", "setup.cfg", "requirements.txt", "LICENSE", ".git/config"):
        write(folder, {name: rng.randbytes(2**15)})


def _long_lines(folder: Path) -> None:
    write(folder, {f"train{i}.csv": "text,label\n" + '"' * (2 * 2**20) for i in range(3)})
    write(folder, {"train.jsonl": "[" * (2 * 2**20), "train.json": "[{" * 2**19})
    write(folder, {"a.py": " " * 2**20, "b.py": "import " * 2**18, "c.py": "\n" * 2**20})
    write(folder, {"pyproject.toml": "a = " + "[" * 2**15, "Pipfile": "a." * 2**14})
    write(folder, {"setup.cfg": "[a]\n" * 10_000, "setup.py": "install_requires=[" * 3_000})
    write(folder, {".git/config": '[remote "x"]\n' * 4_000, "environment.yml": "- " * 30_000})


def _links(folder: Path) -> None:
    (folder / "loop").symlink_to("loop")
    (folder / "train.csv").symlink_to("train.csv")
    (folder / "up").symlink_to("..", target_is_directory=True)
    (folder / "gone.csv").symlink_to("nowhere.csv")
    (folder / "train.jsonl").symlink_to("/dev/zero")
    (folder / "train.py").symlink_to("/dev/random")
    os.mkfifo(folder / "train.tsv")
    os.mkfifo(folder / "pyproject.toml")
    (folder / ".git").mkdir()
    os.mkfifo(folder / ".git" / "config")


def _odd_names(folder: Path) -> None:
    content = table(["text", "label"], tickets()).encode()
    for name in (b"tr\xffain.csv", b"train\n.csv", b"\xe2\x80\xaetrain.csv", b"t" * 250 + b".csv"):
        (folder / os.fsdecode(name)).write_bytes(content)
    for folder_name in ("requirements.txt", "pyproject.toml", "train.jsonl", "LICENSE", "a.py"):
        (folder / folder_name).mkdir()


def _unreadable(folder: Path) -> None:
    write(folder, {"secret/train.csv": "text\n", "train.csv": "text\n", "pyproject.toml": ""})
    for name in ("secret", "train.csv", "pyproject.toml"):
        (folder / name).chmod(0)


def _many(folder: Path) -> None:
    for part in range(3):
        (folder / f"part{part}").mkdir()
        for i in range(MAX_ENTRIES_PER_FOLDER + 500):
            (folder / f"part{part}" / f"{i}.csv").touch()
    (folder / Path(*["deep"] * 60)).mkdir(parents=True)


def _surrogates(folder: Path) -> None:
    rows = '{"text": "\\ud800", "label": "\\udfff", "\\ud800": 1}\n' * 20
    write(folder, {"train.jsonl": rows + '{"text": 1e999, "label": NaN}\n' + '{"text": -1}\n'})


@pytest.mark.parametrize(
    "fill", [_huge, _binary, _long_lines, _links, _odd_names, _many, _surrogates, _unreadable]
)
def test_no_folder_slows_or_fails(tmp_path: Path, fill: Callable[[Path], None]) -> None:
    fill(tmp_path)
    start = time.process_time()
    found = discover(tmp_path)
    assert time.process_time() - start < MAX_HOSTILE_SECONDS
    if fill is not _surrogates and os.geteuid():
        assert found.data is None
    repr(found).encode()  # can be written


def test_a_damaged_footer_is_refused_or_read(tmp_path: Path) -> None:
    footer = bytearray(base64.b64decode(PARQUET_MESSAGES)[:-8])
    rng = random.Random(0)
    for _ in range(3_000):
        damaged = bytearray(footer)
        for _ in range(rng.randint(1, 6)):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        read = parquet.read_footer(bytes(damaged[rng.randrange(300) :]))
        assert read is None or read.num_rows >= 0
    for hostile in (b"\x19" * 2**16, b"\x1c" * 2**16, b"\x29\xfc" + b"\xff" * 8 + b"\x01" * 2**15):
        assert parquet.read_footer(hostile) is None


def test_many_files_of_a_class_are_not_all_counted(tmp_path: Path) -> None:
    count = MAX_ENTRIES_PER_FOLDER + 10
    for name in ("a", "b"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for i in range(count):
            (tmp_path / "data" / name / f"{i}.png").touch()
    data = data_of(tmp_path)
    assert not data.rows_exact and data.rows >= 2 * MAX_ENTRIES_PER_FOLDER
    assert data.classes == 2


def test_user_code_is_not_run(tmp_path: Path) -> None:
    write(tmp_path, {"setup.py": "open('ran', 'w')\n", "conftest.py": "1/0\n", "csv.py": "1/0\n"})
    discover(tmp_path)
    assert not (tmp_path / "ran").exists()


def test_an_ordinary_folder_takes_milliseconds(tmp_path: Path) -> None:
    files = {f"src/module{i}.py": "import os\nimport torch\n" + "x = 1\n" * 500 for i in range(60)}
    write(tmp_path, {**files, "data/train.csv": table(["text", "label"], tickets(20_000))})
    write(tmp_path, {"data/chat.jsonl": lines(CHAT * 10_000), "pyproject.toml": "[project]\n"})
    times = []
    for _ in range(5):
        start = time.process_time()
        assert discover(tmp_path).framework == "pytorch"
        times.append(time.process_time() - start)
    assert min(times) < MAX_SECONDS, times
