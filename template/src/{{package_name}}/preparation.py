"""From a raw file to `train.jsonl` and `eval.jsonl`: validated, without repeats or leaks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .checkpoints import check_replaceable, write_whole
from .config import DataConfig
from .data import Example, example_key, read_examples, sources, split_examples, to_record
from .errors import ConfigError, DataError
from .rows import content_sha256, local_path


def prepare(location: str, output: Path, data: DataConfig) -> dict[str, Any]:
    """Write the folder `output` whole or not at all; return the counts it also holds.

    Raises DataError naming the first row that cannot be used, and ConfigError where `output`
    holds files of another origin.
    """
    check_replaceable(output)
    source = local_path(location)
    if source and output.resolve() in (source.resolve(), *source.resolve().parents):
        # once more over its own training rows, it would throw the held-out ones away
        raise ConfigError(
            f"{location} lies in {output}, which this command replaces; name the raw file"
        )
    unique: dict[str, Example] = {}
    total = 0
    for example in read_examples(location, data):
        total += 1
        unique.setdefault(example_key(example), example)
    train, held_out = split_examples(list(unique.values()), data.eval_fraction)
    if not held_out:
        raise DataError(f"{location}: too few different rows to hold some out for evaluation")
    only = data.model_copy(update={"train": location, "eval": None})
    summary = {
        "source": location,
        "source_sha256": content_sha256(sources(only)),
        "rows": total,
        "repeated_rows_dropped": total - len(unique),
        "train_rows": len(train),
        "eval_rows": len(held_out),
    }

    def write(path: Path) -> None:
        if (output / ".gitkeep").exists():  # git tracks it, so the new folder has it too
            (path / ".gitkeep").touch()
        if (output / ".gitkeep").exists():
            (path / ".gitkeep").touch()
        for name, examples in (("train", train), ("eval", held_out)):
            lines = [json.dumps(to_record(e, data), ensure_ascii=False) + "\n" for e in examples]
            (path / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")
        text = json.dumps(summary, indent=2, ensure_ascii=False) + "\n"
        (path / "summary.json").write_text(text, encoding="utf-8")

    write_whole(output, write)
    return summary
