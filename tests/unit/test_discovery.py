"""What a folder with files says of framework, trackers, data and metadata, and that none harms."""

from __future__ import annotations

import base64
import csv
import io
import json
import os
import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from extensions.discovery import discover, parquet
from extensions.discovery.folder import MAX_ENTRIES_PER_FOLDER
from extensions.findings import DataFile, Found

pytestmark = pytest.mark.unit

# Twice the goal for an ordinary folder: here other tests run beside.
MAX_SECONDS = 0.040
# Whatever lies in the folder.
MAX_HOSTILE_SECONDS = 1.0

# Written by pyarrow 26 without statistics: 3 rows with `text` and `label`; 4 with `messages`, a
# list of {role, content}, and `id`.
PARQUET_CLASSES = (
    "UEFSMRUAFTYVNiwVBhUAFQYVBhwAAAACAAAABgEDAAAAYSBiAwAAAGMgZAMAAABlIGYVABU8FTwsFQYVABUGFQYcAAAAAgAA"
    "AAYBAAAAAAAAAAABAAAAAAAAAAAAAAAAAAAAFQQZPDUAGAZzY2hlbWEVBAAVDCUCGAR0ZXh0JQBMHAAAABUEJQIYBWxhYmVs"
    "ABYGGRwZLCYAHBUMGSUGABkYBHRleHQVABYGFlwWXCYISRwVABUAFQIAPBYSGQYZJgAGAAAAJgAcFQQZJQYAGRgFbGFiZWwV"
    "ABYGFmIWYiZkSRwVABUAFQIAPCkGGSYABgAAABa+ARYGJggWvgEAKCBwYXJxdWV0LWNwcC1hcnJvdyB2ZXJzaW9uIDI2LjAu"
    "MRksHAAAHAAAAMcAAABQQVIx"
)
PARQUET_MESSAGES = (
    "UEFSMRUAFVgVWCwVCBUAFQYVBhwAAAACAAAACAACAAAACAQEAAAAdXNlcgQAAAB1c2VyBAAAAHVzZXIEAAAAdXNlchUAFUAV"
    "QCwVCBUAFQYVBhwAAAACAAAACAACAAAACAQBAAAAeAEAAAB4AQAAAHgBAAAAeBUAFUwVTCwVCBUAFQYVBhwAAAACAAAACAEB"
    "AAAAAAAAAAIAAAAAAAAAAwAAAAAAAAAEAAAAAAAAABUEGXw1ABgGc2NoZW1hFQQANQIYCG1lc3NhZ2VzFQIVBkw8AAAANQQY"
    "BGxpc3QVAgA1AhgHZWxlbWVudBUEABUMJQIYBHJvbGUlAEwcAAAAFQwlAhgHY29udGVudCUATBwAAAAVBCUCGAJpZAAWCBkc"
    "GTwmABwVDBklBgAZSAhtZXNzYWdlcwRsaXN0B2VsZW1lbnQEcm9sZRUAFggWfhZ+JghJHBUAFQAVAgA8FiAZJggAGVYAAAAA"
    "CAAAACYAHBUMGSUGABlICG1lc3NhZ2VzBGxpc3QHZWxlbWVudAdjb250ZW50FQAWCBZmFmYmhgFJHBUAFQAVAgA8FggZJggA"
    "GVYAAAAACAAAACYAHBUEGSUGABkYAmlkFQAWCBZyFnIm7AFJHBUAFQAVAgA8KQYZJgAIAAAAFtYCFggmCBbWAgAoIHBhcnF1"
    "ZXQtY3BwLWFycm93IHZlcnNpb24gMjYuMC4xGTwcAAAcAAAcAAAAcAEAAFBBUjE="
)


def write(folder: Path, files: dict[str, str | bytes]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return folder


def table(header: Sequence[str], rows: Sequence[Sequence[Any]], delimiter: str = ",") -> str:
    stream = io.StringIO()
    csv.writer(stream, delimiter=delimiter).writerows([header, *rows])
    return stream.getvalue()


def lines(rows: Sequence[Any]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def tickets(count: int = 40) -> list[list[str]]:
    topics = ("billing", "delivery", "login", "other")
    return [[f"my request number {i} is about this", topics[i % 4]] for i in range(count)]


def data_of(folder: Path) -> DataFile:
    found = discover(folder).data
    assert found is not None
    return found


CHAT = [{"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yes"}]}]

# ── Framework and trackers ───────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "files, framework, reason",
    [
        (
            {"requirements.txt": "# ours\ntorch>=2\nTransformers[torch]==5 ; python_version>'3'\n"},
            "transformers",
            "requirements.txt names transformers",
        ),
        ({"requirements/train.txt": "-r base.txt\ntorch\n"}, "pytorch", "names torch"),
        (
            {"pyproject.toml": '[project]\nname = "a"\ndependencies = ["flax>=0.8", "jax"]\n'},
            "jax",
            "pyproject.toml names flax",
        ),
        (
            {"pyproject.toml": '[dependency-groups]\ntrain = ["pytorch_lightning", {x = "y"}]\n'},
            "pytorch",
            "names pytorch-lightning",
        ),
        ({"pyproject.toml": '[tool.poetry.dependencies]\nkeras = "^3"\n'}, "keras", "names keras"),
        (
            {"pyproject.toml": '[tool.poetry.group.dev.dependencies]\npeft = "*"\n'},
            "transformers",
            "names peft",
        ),
        ({"setup.cfg": "[options]\ninstall_requires =\n  torch\n  tqdm\n"}, "pytorch", "setup.cfg"),
        ({"setup.py": "setup(install_requires=['numpy', \"jax>=0.4\"])\n"}, "jax", "setup.py"),
        ({"Pipfile": '[packages]\ntensorflow = "*"\n'}, "keras", "Pipfile names tensorflow"),
        (
            {"environment.yml": "dependencies:\n  - python=3.11\n  - pytorch::torch\n"},
            "pytorch",
            "environment.yml names torch",
        ),
        ({"train.py": "import os, torch.nn as nn\n"}, "pytorch", "train.py imports torch"),
        ({"src/a/b.py": "from jax import numpy\n"}, "jax", "src/a/b.py imports jax"),
        (
            {"explore.ipynb": json.dumps({"cells": [{"source": ["import keras\n"]}]}, indent=1)},
            "keras",
            "explore.ipynb imports keras",
        ),
        ({"a.py": "import jax\n", "b.py": "import transformers\n"}, "jax", "a.py imports jax"),
        ({"a.py": "# import torch\nx = 'torch'\n"}, None, ""),
        ({".venv/lib/x.py": "import torch\n", "node_modules/y.py": "import jax\n"}, None, ""),
        ({"README.md": "This uses torch.\n"}, None, ""),
    ],
)
def test_the_framework_is_known_from_requirements_or_imports(
    tmp_path: Path, files: dict[str, str | bytes], framework: str | None, reason: str
) -> None:
    found = discover(write(tmp_path, files))
    assert found.framework == framework
    assert reason in found.framework_reason


def test_trackers_are_found(tmp_path: Path) -> None:
    write(tmp_path, {"requirements.txt": "mlflow==3\n", "train.py": "import wandb\n"})
    found = discover(tmp_path)
    assert found.tracking == ["wandb", "mlflow"]
    assert found.tracking_reason == "train.py imports wandb, requirements.txt names mlflow"


# ── Metadata ─────────────────────────────────────────────────────────────────────────────────────


def test_metadata_comes_from_pyproject(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "pyproject.toml": '[project]\nname = "ticket-router"\ndescription = " Sorts tickets "\n'
            'requires-python = ">=3.11"\nlicense = {text = "MIT"}\n'
        },
    )
    found = discover(tmp_path)
    assert (found.project_name, found.description) == ("ticket-router", "Sorts tickets")
    assert (found.requires_python, found.license) == (">=3.11", "MIT")


def test_metadata_comes_from_setup_cfg(tmp_path: Path) -> None:
    text = (
        "[metadata]\nname = router\ndescription = 100% ours\n[options]\npython_requires = >=3.9\n"
    )
    found = discover(write(tmp_path, {"setup.cfg": text}))
    assert (found.project_name, found.description) == ("router", "100% ours")
    assert found.requires_python == ">=3.9"


def test_a_description_that_is_no_line_is_left_out(tmp_path: Path) -> None:
    text = '[project]\nname = "x"\ndescription = "two\\nlines"\n'
    assert discover(write(tmp_path, {"pyproject.toml": text})).description is None


@pytest.mark.parametrize(
    "text, license",
    [
        ("Apache License\n   Version 2.0, January 2004\n", "Apache-2.0"),
        ("Permission is hereby granted, free of\ncharge, to … without restriction\n", "MIT"),
        (
            "Copyright. All rights reserved.\nRedistribution and use in source and binary forms, … "
            "are permitted. Neither the name of …\n",
            "BSD-3-Clause",
        ),
        ("Copyright 2026 Example Ltd. All rights reserved.\n", "proprietary"),
        ("GNU GENERAL PUBLIC LICENSE Version 3 … free software …\n", None),
    ],
)
def test_the_licence_is_recognised(tmp_path: Path, text: str, license: str | None) -> None:
    assert discover(write(tmp_path, {"LICENSE": text})).license == license


@pytest.mark.parametrize(
    "address, page",
    [
        ("git@example.org:ada/ticket-router.git", "https://example.org/ada/ticket-router"),
        (
            "https://ada:secret@git.example.org/a/b/ticket-router.git/",
            "https://git.example.org/a/b/ticket-router",
        ),
        (
            "ssh://git@git.example.org:2222/ada/ticket-router",
            "https://git.example.org/ada/ticket-router",
        ),
        ("/srv/git/ticket-router.git", None),
        ("https://secret@/ticket-router", None),
    ],
)
def test_the_remote_is_read_without_its_password(
    tmp_path: Path, address: str, page: str | None
) -> None:
    other = '[remote "fork"]\n\turl = https://example.org/x/fork\n'
    config = f'[core]\n\tbare = false\n{other}[remote "origin"]\n\turl = {address}\n\tfetch = +x\n'
    found = discover(write(tmp_path, {".git/config": config}))
    assert found.project_name == "ticket-router"
    assert "secret" not in repr(found)
    assert found.git_remote == page


# ── Data: which file, and what it holds ──────────────────────────────────────────────────────────


def test_a_table_of_texts_and_classes(tmp_path: Path) -> None:
    rows = [[i, text, topic] for i, (text, topic) in enumerate(tickets())]
    write(tmp_path, {"data/tickets.csv": table(["id", "body", "topic"], rows)})
    data = data_of(tmp_path)
    assert (data.path, data.format, data.rows, data.rows_exact) == (
        "data/tickets.csv",
        "csv",
        40,
        True,
    )
    assert data.columns == {"text": "body", "label": "topic"} and data.classes == 4
    assert data.task == "text_classification" and data.problem == ""
    assert data.mean_tokens == 9 and data.max_tokens == 9  # 34 or 35 bytes, four a token
    assert data.bytes == (tmp_path / "data/tickets.csv").stat().st_size
    reason = "data/tickets.csv has 40 rows with text in `body` and label in `topic`; 4 classes"
    assert discover(tmp_path).task_reason == reason


def test_columns_are_known_by_what_they_hold(tmp_path: Path) -> None:
    rows = [[i, f"a long enough text of a person, {i}", ["ja", "nein"][i % 2]] for i in range(30)]
    data = data_of(write(tmp_path, {"antworten.csv": table(["Nr", "Antwort", "Urteil"], rows)}))
    assert data.columns == {"text": "Antwort", "label": "Urteil"}


def test_of_several_possible_labels_none_is_guessed(tmp_path: Path) -> None:
    rows = [[f"some text here {i}", "ab"[i % 2], "xyz"[i % 3]] for i in range(30)]
    assert data_of(write(tmp_path, {"x.csv": table(["Satz", "A", "B"], rows)})).columns == {
        "text": "Satz"
    }


def test_a_label_may_be_a_number_but_not_a_measurement(tmp_path: Path) -> None:
    rows: list[list[Any]] = [[f"some text {i}", i % 2, i + 0.5] for i in range(30)]
    write(tmp_path, {"x.csv": table(["text", "positive", "target"], rows)})
    assert data_of(tmp_path).columns == {"text": "text", "label": "positive"}


@pytest.mark.parametrize(
    "name, rows, columns, problem",
    [
        ("chat.jsonl", CHAT, {"messages": "messages"}, ""),
        (
            "pairs.jsonl",
            [{"prompt": "a", "completion": "b"}],
            {"prompt": "prompt", "completion": "completion"},
            "",
        ),
        ("plain.ndjson", [{"text": "All of it."}], {"text": "text"}, ""),
        (
            "alpaca.jsonl",
            [{"instruction": "a", "input": "", "output": "b"}],
            {"prompt": "instruction", "completion": "output"},
            "rename its column `instruction` to `prompt` and `output` to `completion`",
        ),
        (
            "sharegpt.jsonl",
            [{"conversations": [{"from": "human", "value": "hi"}]}],
            {"messages": "conversations"},
            "rename its column `conversations` to `messages`",
        ),
        (
            "turns.jsonl",
            [{"messages": [{"from": "human", "value": "hi"}]}],
            {"messages": "messages"},
            "a message needs `role` and `content`",
        ),
    ],
)
def test_rows_for_a_language_model(
    tmp_path: Path, name: str, rows: list[Any], columns: dict[str, str], problem: str
) -> None:
    data = data_of(write(tmp_path, {name: lines(rows * 12)}))
    assert data.task == "llm" and data.columns == columns
    assert data.problem == problem and data.rows == 12
    assert data.mean_tokens and data.max_tokens


def test_tokens_are_bytes_by_four(tmp_path: Path) -> None:
    texts = ["a" * 40] * 94 + ["é" * 200] * 5 + ["b" * 4000]  # é is two bytes
    data = data_of(write(tmp_path, {"t.jsonl": lines([{"text": text} for text in texts])}))
    assert (data.mean_tokens, data.p95_tokens, data.max_tokens) == (24, 100, 1000)


def test_json_and_text_documents(tmp_path: Path) -> None:
    pairs = [{"prompt": "a", "completion": "b"}] * 5
    one = data_of(write(tmp_path / "1", {"data.json": json.dumps(pairs)}))
    other = data_of(write(tmp_path / "2", {"data.json": json.dumps({"data": pairs}, indent=2)}))
    assert one.rows == other.rows == 5 and one.task == other.task == "llm"
    assert one.problem == "it is one JSON document; write one object a line (JSONL)"
    text = data_of(write(tmp_path / "3", {"data/corpus.txt": "one\n\ntwo\n", "notes.txt": "x\n"}))
    assert (text.path, text.rows, text.task) == ("data/corpus.txt", 2, "llm")


def test_the_footer_of_parquet_is_read(tmp_path: Path) -> None:
    classes = data_of(write(tmp_path / "1", {"t.parquet": base64.b64decode(PARQUET_CLASSES)}))
    assert classes.columns == {"text": "text", "label": "label"} and classes.rows == 3
    assert classes.task == "text_classification" and classes.mean_tokens is None
    chat = data_of(write(tmp_path / "2", {"t.parquet": base64.b64decode(PARQUET_MESSAGES)}))
    assert chat.columns == {"messages": "messages"} and chat.rows == 4 and chat.problem == ""


def test_training_data_is_preferred_and_its_evaluation_found(tmp_path: Path) -> None:
    content = table(["text", "label"], tickets())
    names = ("a/labels.csv", "data/test.csv", "data/train.csv", "data/dev.csv", "top.csv")
    data = data_of(write(tmp_path, dict.fromkeys(names, content)))
    assert data.path == "data/train.csv" and data.eval_path == "data/dev.csv"


def test_a_folder_of_images_for_each_class(tmp_path: Path) -> None:
    for split, count in (("train", 6), ("val", 2)):
        for name in ("cats", "dogs", "birds"):
            write(tmp_path, {f"data/{split}/{name}/{i}.JPG": b"x" * 100 for i in range(count)})
    write(tmp_path, {"docs/a/1.png": b"x", "docs/a/2.png": b"x"})
    found = discover(tmp_path)
    data = data_of(tmp_path)
    assert (data.path, data.eval_path) == ("data/train", "data/val")
    assert (data.format, data.rows, data.rows_exact, data.classes) == ("image_folder", 18, True, 3)
    assert data.bytes == 1800 and data.problem == ""
    assert found.task == "image_classification"
    assert found.task_reason == "data/train holds 18 images in 3 classes"


def test_folders_of_classes_beside_code_are_to_be_moved(tmp_path: Path) -> None:
    for name in ("yes", "no"):
        write(tmp_path, {f"{name}/{i}.wav": b"x" for i in range(3)})
    data = data_of(write(tmp_path, {"src/train.py": "import torch\n"}))
    assert (data.path, data.format, data.task) == (".", "audio_folder", "audio_classification")
    assert data.problem == "move the folders of the classes into one, such as data/train"


def test_pictures_of_a_page_are_no_data(tmp_path: Path) -> None:
    names = [f"docs/{part}/{i}.png" for part in ("logos", "figures") for i in range(9)]
    write(tmp_path, {**dict.fromkeys(names, b"x"), "one/1.png": b"x", "two/1.png": b"x"})
    assert discover(tmp_path).data is None


@pytest.mark.parametrize(
    "header, row, columns, task",
    [
        (["file", "label"], ["a/1.jpg", "cat"], {"image": "file"}, "image_classification"),
        (["path", "label"], ["a/1.flac", "yes"], {"audio": "path"}, "audio_classification"),
        (["audio", "transcript"], ["1.wav", "he said"], {"audio": "audio"}, None),
        (["image", "text"], ["1.png", "a cat"], {"image": "image", "text": "text"}, "multimodal"),
    ],
)
def test_tables_that_name_images_or_recordings(
    tmp_path: Path, header: list[str], row: list[str], columns: dict[str, str], task: str | None
) -> None:
    found = discover(write(tmp_path, {"table.csv": table(header, [row] * 12)}))
    assert found.task == task
    if task:
        assert found.data and columns.items() <= found.data.columns.items()


def test_a_conversation_about_an_image(tmp_path: Path) -> None:
    rows = [{"image": f"{i}.png", **CHAT[0]} for i in range(5)]
    data = data_of(write(tmp_path, {"vqa.jsonl": lines(rows)}))
    assert data.task == "multimodal" and data.problem == ""
    assert data.columns == {"image": "image", "messages": "messages"}


@pytest.mark.parametrize(
    "content, problem",
    [
        (table(["text", "label"], tickets(), ";"), "semicolons separate its columns; write commas"),
        (
            table(["text", "label"], [[f"dépêche {i}", "ab"[i % 2]] for i in range(9)]).encode(
                "latin-1"
            ),
            "it is not UTF-8; save it as UTF-8",
        ),
        (table(["text", "label"], [["x y z", "same"]] * 9), "`label` has only one class"),
        (
            table(["text", "label"], [["x y z", f"c{i % 250}"] for i in range(999)]),
            "`label` has 250 values; are they classes?",
        ),
        (b"\xef\xbb\xbf" + table(["text", "label"], tickets()).encode(), ""),
        (table(["text", "label"], [['a\n"b"', "x"], ["c, d\r\n", "y"]] * 9), ""),
    ],
)
def test_what_is_to_be_mended_is_said(tmp_path: Path, content: str | bytes, problem: str) -> None:
    data = data_of(write(tmp_path, {"train.csv": content}))
    assert data.task == "text_classification"
    assert data.problem == problem


@pytest.mark.parametrize(
    "files",
    [
        {"x.csv": table(["a", "b"], [[i, i * 0.5] for i in range(50)])},  # numbers
        {"x.csv": "", "y.jsonl": "", "z.json": "", "w.parquet": ""},
        {"x.jsonl": "no json\n[1, 2]\n3\n", "y.json": "[1, 2]", "z.json": '{"a": {}}'},
        {"package.json": '[{"text": "x"}]', "metrics.jsonl": lines([{"text": "loss"}])},
        {"requirements.txt": "torch\n", "LICENSE.txt": "text\n", "README.txt": "text\n"},
        {"tests/fixtures/train.csv": "text,label\na b,x\n", ".hidden/train.csv": "text\na b\n"},
        {"data/sample/train.csv": "text,label\na b,x\n"},  # this template's own
    ],
)
def test_what_is_no_data_is_not_taken_for_it(tmp_path: Path, files: dict[str, str | bytes]) -> None:
    assert discover(write(tmp_path, files)).data is None


# ── Large, broken and hostile ────────────────────────────────────────────────────────────────────


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


@pytest.mark.parametrize("name", ["missing", "a file"])
def test_nothing_is_found_where_there_is_no_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / "a file").write_text("x", "utf-8")
    assert discover(tmp_path / name) == Found()


def test_a_generated_project_is_not_looked_at(tmp_path: Path) -> None:
    """Its answers are stored; an update must not change them."""
    write(tmp_path, {".copier-answers.yml": "_src_path: x\n", "train.py": "import torch\n"})
    write(tmp_path, {"train.csv": table(["text", "label"], tickets())})
    assert discover(tmp_path) == Found()


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
