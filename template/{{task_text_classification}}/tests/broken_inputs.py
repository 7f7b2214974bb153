"""What is wrong with texts and classes, each in one row or one file."""

from __future__ import annotations

from broken_files import Broken, bad_rows, broken_files, write_rows

GOOD = [{"text": f"Text number {i}.", "label": "ab"[i % 2]} for i in range(20)]
ONE_CLASS = [{**row, "label": "a"} for row in GOOD]
TWO = r"rows\.jsonl:21: .*; 1 more row cannot be used: .*rows\.jsonl:22"

BROKEN = [
    *broken_files(GOOD),
    Broken("no text column", bad_rows(GOOD, {"body": "a", "label": "a"}), "no column `text`"),
    Broken("no label column", bad_rows(GOOD, {"text": "a"}), "no column `label`"),
    Broken("text empty", bad_rows(GOOD, {"text": " ", "label": "a"}), "`text` is empty or no text"),
    Broken("text a number", bad_rows(GOOD, {"text": 7, "label": "a"}), "`text` is empty or no"),
    Broken("label empty", bad_rows(GOOD, {"text": "a", "label": ""}), "`label` is empty"),
    Broken("label a list", bad_rows(GOOD, {"text": "a", "label": ["a"]}), "`label` is empty or no"),
    Broken("label true", bad_rows(GOOD, {"text": "a", "label": True}), "`label` is empty or no"),
    Broken(
        "one class",
        lambda f: write_rows(f / "rows.jsonl", ONE_CLASS),
        "only the class `a`",
    ),
    Broken(
        "only repeats",
        lambda f: write_rows(f / "rows.jsonl", [{"text": "same", "label": "a"}] * 30),
        "too few different|only the class",
    ),
    Broken(
        "class unseen in training",
        lambda f: (
            write_rows(f / "eval.jsonl", [{"text": "new", "label": "other"}]),
            write_rows(f / "train.jsonl", GOOD),
        )[1],
        r"eval\.jsonl:1: class `other` never occurs in training",
        ("--data.eval", "{folder}/eval.jsonl"),
        only_training=True,
    ),
    Broken("two bad rows", bad_rows(GOOD, {"text": ""}, {"label": "a"}), TWO),
]
