"""What is wrong with conversations and texts, each in one row or one file."""

from __future__ import annotations

from typing import Any

from broken_files import Broken, bad_rows, broken_files, write_rows

Turn = dict[str, Any]


def turn(role: str, content: Any = "Words.") -> Turn:
    return {"role": role, "content": content}


def chat(*turns: Any) -> dict[str, Any]:
    return {"messages": list(turns)}


GOOD = [chat(turn("user", f"Question {i}?"), turn("assistant", f"Answer {i}.")) for i in range(20)]
LONG = [chat(turn("user", f"{i} " + "word " * 2000), turn("assistant")) for i in range(9)]
TWO = r"rows\.jsonl:21: .*; 1 more row cannot be used: .*rows\.jsonl:22"

BROKEN = [
    *broken_files(GOOD),
    Broken("no known column", bad_rows(GOOD, {"body": "a"}), "needs the column `messages`, or"),
    Broken("no completion", bad_rows(GOOD, {"prompt": "a"}), "needs the column `messages`, or"),
    Broken("messages a text", bad_rows(GOOD, {"messages": "Hi."}), "`messages` must be a list"),
    Broken("no message", bad_rows(GOOD, chat()), "`messages` must be a list"),
    Broken("message without role", bad_rows(GOOD, chat({"content": "a"})), "needs `role` and"),
    Broken("unknown role", bad_rows(GOOD, chat(turn("robot"))), "a role other than"),
    Broken("no assistant turn", bad_rows(GOOD, chat(turn("user"))), "ends without an assistant"),
    Broken("assistant first", bad_rows(GOOD, chat(turn("assistant"))), "starts with the assistant"),
    Broken("same role twice", bad_rows(GOOD, chat(turn("user"), turn("user"))), "must take turns"),
    Broken(
        "system in the middle",
        bad_rows(GOOD, chat(turn("user"), turn("system"), turn("assistant"))),
        "message 2 is a system message; it must be first",
    ),
    Broken("content empty", bad_rows(GOOD, chat(turn("user", ""))), "has no text in `content`"),
    Broken("content a number", bad_rows(GOOD, chat(turn("user", 7))), "has no text in `content`"),
    Broken("text empty", bad_rows(GOOD, {"text": " "}), "`text` is empty or no text"),
    Broken("prompt empty", bad_rows(GOOD, {"prompt": "", "completion": "a"}), "`prompt` is"),
    Broken(
        "all rows too long",
        lambda f: write_rows(f / "rows.jsonl", LONG),
        r"rows are longer than train\.max_seq_len \(256 tokens\).*raise it",
    ),
    Broken(
        "only repeats",
        lambda f: write_rows(f / "rows.jsonl", GOOD[:1] * 30),
        "too few different rows",
    ),
    Broken("two bad rows", bad_rows(GOOD, {"text": ""}, {"body": "a"}), TWO),
]
