"""The sample data: reproducible, and what its data cards say."""

from __future__ import annotations

import csv
import datetime as dt
import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.unit

ROOT = Path(__file__).resolve().parents[2]
TICKETS = "{{task_text_classification}}/data/sample"
CHATS = "{{task_llm}}/data/sample"
FILES = [
    f"{TICKETS}/train.csv",
    f"{TICKETS}/eval.csv",
    f"{CHATS}/train.jsonl",
    f"{CHATS}/eval.jsonl",
]


def tickets(split: str) -> list[dict[str, str]]:
    with (ROOT / f"template/{TICKETS}/{split}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def chats(split: str) -> list[list[dict[str, str]]]:
    lines = (ROOT / f"template/{CHATS}/{split}.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line)["messages"] for line in lines]


def test_the_command_reproduces_the_bytes(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-B", ROOT / "tools/make_sample_data.py", tmp_path], check=True)
    for name in FILES:
        assert (tmp_path / name).read_bytes() == (ROOT / "template" / name).read_bytes(), name


@pytest.mark.parametrize("name", FILES)
def test_files_are_small_and_have_a_card_with_a_licence(name: str) -> None:
    path = ROOT / "template" / name
    assert path.stat().st_size < 400_000
    card = (path.parent / "README.md").read_text("utf-8")
    assert path.name in card and "CC0-1.0" in card and "Source" in card


def test_tickets_are_balanced_and_not_repeated() -> None:
    train, held_out = tickets("train"), tickets("eval")
    assert list(train[0]) == ["text", "label"]
    assert set(Counter(row["label"] for row in train).values()) == {240}
    assert set(Counter(row["label"] for row in held_out).values()) == {48}
    texts = [row["text"].casefold() for row in train + held_out]
    assert len(set(texts)) == len(texts) == 1440
    assert all(5 <= len(text.split()) <= 60 for text in texts)


def test_no_single_word_gives_the_label_away() -> None:
    rows = tickets("train")
    for word in ("order", "invoice", "app", "parcel", "account", "password"):
        labels = {row["label"] for row in rows if re.search(rf"\b{word}\b", row["text"].casefold())}
        assert len(labels) == 5, word


def test_chats_alternate_and_are_not_repeated() -> None:
    train, held_out = chats("train"), chats("eval")
    assert (len(train), len(held_out)) == (800, 120)
    questions = [first_question(chat).casefold() for chat in train + held_out]
    assert len(set(questions)) == len(questions)
    for chat in train + held_out:
        roles = [message["role"] for message in chat if message["role"] != "system"]
        assert roles == ["user", "assistant"] * (len(roles) // 2)
        assert all(message["content"].strip() for message in chat)
    assert sum(chat[0]["role"] == "system" for chat in train) > 200
    assert sum(len(chat) > 3 for chat in train) > 100


def test_answers_are_right() -> None:
    """Work the answers out once more, from the text of the question alone."""
    checked: Counter[str] = Counter()
    for chat in chats("train") + chats("eval"):
        answer = next(m["content"] for m in chat if m["role"] == "assistant")
        answer = answer.removeprefix("Answer: ").removesuffix("\nDONE")
        for kind, (pattern, solve) in SOLVERS.items():
            if match := re.fullmatch(pattern, first_question(chat), re.DOTALL):
                assert answer == solve(*match.groups()), (kind, chat)
                checked[kind] += 1
    assert set(checked) == set(SOLVERS) and checked.total() > 300


def first_question(chat: list[dict[str, str]]) -> str:
    return next(message["content"] for message in chat if message["role"] == "user")


def shifted(days: str, day: str, direction: int) -> str:
    return str(dt.date.fromisoformat(day) + direction * dt.timedelta(days=int(days)))


def table_as_json(table: str) -> str:
    return "\n".join(json.dumps(row) for row in csv.DictReader(table.splitlines()))


SOLVERS: dict[str, tuple[str, Any]] = {
    "later": (r"What date is (\d+) days? after (.*)\?", lambda n, day: shifted(n, day, 1)),
    "earlier": (r"Which date is (\d+) days? before (.*)\?", lambda n, day: shifted(n, day, -1)),
    "sorting": (
        r"Sort these words from A to Z: (.*)",
        lambda words: ", ".join(sorted(words.split(", "))),
    ),
    "bullets": (
        r"Make a bullet list of (.*)\.",
        lambda words: "\n".join(f"- {word}" for word in words.split(", ")),
    ),
    "table": (r"Turn this CSV into JSON lines:\n(.*)", table_as_json),
    "prices": (
        r"(\d+) (\w+) at \$(\d+) each and (\d+) (\w+) at \$(\d+) each: what is the total\?",
        lambda n, a, p, m, b, q: (
            f"{a}: ${int(n) * int(p)}\n{b}: ${int(m) * int(q)}\n"
            f"total: ${int(n) * int(p) + int(m) * int(q)}"
        ),
    ),
}
