"""From a raw file to `train.jsonl` and `eval.jsonl`: validated, without repeats or leaks.

The rows are read twice, and never held: first for what decides their side, about 20 bytes a
row, then to write them. What takes long is tokenising, which comes last and can be resumed.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .checkpoints import check_replaceable, write_whole
from .config import Config, DataConfig
from .data import example_key, group_key, load, read_examples, sources, to_record
from .errors import ConfigError, DataError, UserError
from .processor import get_processor
from .rows import content_sha256, local_path
from .runs import read_json
from .splitting import content_key, held_out_by_class

DROPPED, TRAIN, EVAL = range(3)


@dataclass(frozen=True)
class Plan:
    """What becomes of each row: DROPPED, TRAIN or EVAL, shape (N,)."""

    sides: np.ndarray
    num_conflicts: int
    """Rows that repeat an earlier one but for their class."""


def prepare(
    location: str,
    output: Path,
    data: DataConfig,
    check: Callable[[Path], None] | None = None,
    say: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Write the folder `output` whole or not at all; return the summary it also holds.

    `check` gets the folder with the two files before it takes the place of the former one. `say`
    is told where that one was made from other data.
    Raises DataError naming the rows that cannot be used or what `check` refuses, and ConfigError
    where `output` holds files of another origin.
    """
    check_replaceable(output)
    source = local_path(location)
    if source and output.resolve() in (source.resolve(), *source.resolve().parents):
        # once more over its own training rows, it would throw the held-out ones away
        raise ConfigError(
            f"{location} lies in {output}, which this command replaces; name the raw file"
        )
    only = data.model_copy(update={"train": location, "eval": None})
    source_sha256 = content_sha256(sources(only))
    plan = _plan(location, data)
    counts = np.bincount(plan.sides, minlength=3)
    summary = {
        "source": location,
        "source_sha256": source_sha256,
        "rows": len(plan.sides),
        "repeated_rows_dropped": int(counts[DROPPED]),
        "train_rows": int(counts[TRAIN]),
        "eval_rows": int(counts[EVAL]),
    }
    if plan.num_conflicts:
        summary["of_these_with_another_class"] = plan.num_conflicts

    def write(path: Path) -> None:
        if (output / ".gitkeep").exists():  # git tracks it, so the new folder has it too
            (path / ".gitkeep").touch()
        _write_rows(path, location, plan, data)
        if check:
            _check(check, path, location)
        # as run.json has it when training reads the two files
        summary["data_sha256"] = content_sha256(sources(_of_files(data, path)))
        text = json.dumps(summary, indent=2, ensure_ascii=False) + "\n"
        (path / "summary.json").write_text(text, encoding="utf-8")

    former = read_json(output / "summary.json")
    write_whole(output, write)
    if former.get("source_sha256", source_sha256) != source_sha256:
        say(
            f"note: the split in {output} was of other data, {former.get('rows')} rows of "
            f"{former.get('source')}; it is replaced, and only that data makes it again"
        )
    return summary


def _check(check: Callable[[Path], None], path: Path, location: str) -> None:
    """Run `check`; what it refuses is said of `location`, the only file that the user has."""
    try:
        check(path)
    except DataError as error:
        text = str(error)
        for name, part in (("train", "training"), ("eval", "evaluation")):
            text = text.replace(str(path / f"{name}.jsonl"), f"{location}, its {part} rows")
        raise DataError(text if location in text else f"{location}: {text}") from None


def preview(config: Config, output: Path) -> str:
    """What training will see of the files in `output`; tokens are made, and kept for it.

    Raises DataError where training would refuse them.
    """
    prepared = config.model_copy(update={"data": _of_files(config.data, output)})
    try:
        processor = get_processor(prepared)
    except UserError as error:
        return f"note: training will make the tokens ({error})"
    return load(prepared, processor).summary()


def _plan(location: str, data: DataConfig) -> Plan:
    """Read all rows, and decide by their content alone."""
    keys, groups, classes = array("Q"), array("Q"), array("q")
    numbers: dict[str, int] = {}
    for example in read_examples(location, data):
        keys.append(content_key(example_key(example)))
        if group_key is not example_key:
            groups.append(content_key(group_key(example)))
        # tasks without classes have no label: all rows count as of one class
        classes.append(numbers.setdefault(getattr(example, "label", ""), len(numbers)))
    key_of, class_of = np.array(keys, np.uint64), np.array(classes, np.int64)
    group_of = np.array(groups, np.uint64) if groups else key_of

    _, first, which = np.unique(key_of, return_index=True, return_inverse=True)
    sides = np.full(len(keys), DROPPED, np.uint8)
    kept = np.sort(first)
    held = held_out_by_class(group_of[kept], class_of[kept], data.eval_fraction)
    sides[kept] = np.where(held, EVAL, TRAIN)
    if not held.any():
        raise DataError(f"{location}: too few different rows to hold some out for evaluation")
    return Plan(sides, int((class_of != class_of[first][which]).sum()))


def _of_files(data: DataConfig, folder: Path) -> DataConfig:
    """The configuration that reads the two files in `folder`."""
    files = {name: str(folder / f"{name}.jsonl") for name in ("train", "eval")}
    return data.model_copy(update=files)


def _write_rows(path: Path, location: str, plan: Plan, data: DataConfig) -> None:
    """Read the rows once more and write them."""
    with (path / "train.jsonl").open("wb") as train, (path / "eval.jsonl").open("wb") as held_out:
        files = {TRAIN: train, EVAL: held_out}
        number = 0
        for number, example in enumerate(read_examples(location, data), start=1):
            side = int(plan.sides[number - 1]) if number <= len(plan.sides) else DROPPED
            if side != DROPPED:
                line = json.dumps(to_record(example, data), ensure_ascii=False) + "\n"
                files[side].write(line.encode())
    if number != len(plan.sides):
        raise DataError(f"{location} changed while it was read; run again")
