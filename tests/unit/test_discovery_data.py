"""Which of a folder's files is the data, and what it holds."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from data_folders import (
    CHAT,
    PARQUET_CLASSES,
    PARQUET_MESSAGES,
    data_of,
    lines,
    table,
    tickets,
    write,
)
from extensions.discovery import discover

pytestmark = pytest.mark.unit


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
