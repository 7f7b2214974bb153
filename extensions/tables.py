"""The estimate's tables with the rows of an organisation, for the questions and for the project."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .organisation import FILE, Organisation
from .questions import nearest
from .rules.facts import KINDS
from .settings import OURS, SettingsError

KEYS = {"models": ("hub_id",), "gpus": ("name",), "prices": ("provider", "instance")}
LIKE = "like"

_POSITIVE = ("memory_gib", "fp16_tflops", "fp32_tflops", "bandwidth_gbps", "watts")

Row = dict[str, str]


def text(path: Path, settings: Organisation) -> str:
    """Return a table as the project gets it; without rows of ours the very same text."""
    own = settings.rows.get(path.stem, ())
    original = path.read_bytes().decode("utf-8")
    if not own:
        return original
    rows = list(csv.DictReader(io.StringIO(original)))
    file = io.StringIO()
    writer = csv.DictWriter(file, rows[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(merged(path.stem, rows, own, settings.name))
    return file.getvalue()


def merged(table: str, rows: list[Row], own: Sequence[Mapping[str, str]], name: str) -> list[Row]:
    """Return the rows with the organisation's: in place of one with the same key, or at the end.

    Raises SettingsError.
    """
    columns = list(rows[0])
    found = {tuple(row[column] for column in KEYS[table]): row for row in rows}
    for number, given in enumerate(own, 1):
        where = f"{FILE}: {table}, row {number}"
        allowed = (*columns, LIKE) if len(KEYS[table]) == 1 else columns
        for column in given:
            if column not in allowed:
                raise SettingsError(
                    f"{where}: {column[:60]!r} is no column; {nearest(column, allowed)}"
                )
        row = dict.fromkeys(columns, "") | {"source": name}
        if LIKE in given:
            if (given[LIKE],) not in found:
                near = nearest(given[LIKE], [key[0] for key in found])
                other = near if near.startswith("did") else "take one that the table has"
                raise SettingsError(f"{where}: like: {given[LIKE][:60]!r} is no row; {other}")
            row = found[(given[LIKE],)] | {"source": f"{name}, like {given[LIKE]}"}
        row |= {column: value for column, value in given.items() if column != LIKE}
        for column in KEYS[table]:
            if not given.get(column):
                raise SettingsError(f"{where}: {column} is missing")
        found[tuple(row[column] for column in KEYS[table])] = row
    return list(found.values())


def extend(estimate: Any, settings: Organisation) -> None:
    """Give a just loaded estimate the organisation's rows. Raises SettingsError."""
    for table, own in settings.rows.items():
        rows = estimate.tables.rows(table)  # a cached list: whoever asks next gets the same one
        rows[:] = merged(table, rows, own, settings.name)
    for number, row in enumerate(settings.rows.get("gpus", ()), 1):
        _check_gpu(estimate, row["name"], f"{FILE}: gpus, row {number}")
    needed = next(iter(estimate.tables.rows("prices")))
    for number, row in enumerate(settings.rows.get("prices", ()), 1):
        where = f"{FILE}: prices, row {number}"
        try:
            gpu, _ = estimate.tables.own_price({**dict.fromkeys(needed, ""), **row}, where)
        except estimate.EstimateError as error:
            raise SettingsError(str(error)) from None
        if gpu != row["gpu"]:
            raise SettingsError(f"{where}: gpu is {row['gpu'][:40]!r}; the table calls it {gpu}")
    for number, row in enumerate(settings.rows.get("models", ()), 1):
        _check_model(estimate, row["hub_id"], f"{FILE}: models, row {number}")


def _check_gpu(estimate: Any, name: str, where: str) -> None:
    row = next(row for row in estimate.tables.rows("gpus") if row["name"] == name)
    for column in (*_POSITIVE, *(("bf16_tflops",) if row["bf16_tflops"] else ())):
        whole = r"\d+" if column == "watts" else r"\d+(\.\d+)?"
        if not re.fullmatch(whole, row[column]) or float(row[column]) <= 0:
            raise SettingsError(
                f"{where}: {column} is {row[column][:40]!r}; write a number above 0"
            )
    if not re.fullmatch(r"\d+\.\d+", row["compute_capability"]):
        raise SettingsError(f'{where}: compute_capability: write it in quotes, such as "9.0"')


def _check_model(estimate: Any, hub_id: str, where: str) -> None:
    try:
        shape = estimate.models()[hub_id]
        counted = estimate.count_parameters(shape)
    except (TypeError, ValueError, KeyError) as error:
        raise SettingsError(f"{where}: {hub_id}: {' '.join(str(error).split())}") from None
    if counted != shape.params:
        raise SettingsError(
            f"{where}: {hub_id}: params is {shape.params}, and its other columns make {counted}"
        )


def recommended(
    ours: Mapping[str, Sequence[str]], settings: Organisation, estimate: Any
) -> dict[str, list[str]]:
    """Return the models to start from for each task. Raises SettingsError."""
    found = {task: list(models) for task, models in ours.items()}
    for task, models in settings.recommended.items():
        where = f"{FILE}: recommended.{task}"
        named = [[model] if model != OURS else list(ours.get(task, ())) for model in models]
        found[task] = [model for group in named for model in group]
        for model in found[task]:
            try:
                shape = estimate.find_model(model)
            except estimate.EstimateError as error:
                raise SettingsError(f"{where}: {error}; or describe it under models") from None
            if shape.kind not in KINDS[task]:
                raise SettingsError(f"{where}: {model} is a {shape.kind} model, not for this task")
    return found
