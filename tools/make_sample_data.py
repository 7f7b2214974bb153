"""Write the sample data of every task into the template; the same bytes on every run.

    python tools/make_sample_data.py [template folder]

Nothing is downloaded: the rows come from the grammars in `sample_tickets.py` and
`sample_chats.py`, and each data card (README.md beside the rows) says so.
"""

import csv
import io
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sample_chats import make_chats
from sample_tickets import make_tickets

SEED = 20240229


def main(template: Path) -> None:
    """Write train and eval files for each task under `template`."""
    train, held_out = make_tickets(SEED, rows=1200, eval_rows=240)
    folder = template / "{{task_text_classification}}/data/sample"
    _write(folder / "train.csv", _csv(train))
    _write(folder / "eval.csv", _csv(held_out))

    chats, held_out_chats = make_chats(SEED, rows=800, eval_rows=120)
    folder = template / "{{task_llm}}/data/sample"
    _write(folder / "train.jsonl", _jsonl(chats))
    _write(folder / "eval.jsonl", _jsonl(held_out_chats))


def _csv(rows: Sequence[Mapping[str, str]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _jsonl(rows: Sequence[Mapping[str, Any]]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode())


if __name__ == "__main__":
    default = Path(__file__).resolve().parents[1] / "template"
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else default)
