"""Answers that together hold every pair of offered choices, computed from copier.yml.

python tests/combinations.py    prints how many pairs there are, are refused, and meet
"""

from __future__ import annotations

import json
import math
import os
import sys
import zlib
from functools import cache
from itertools import chain, combinations, product
from typing import Any, NamedTuple

from covertable import make

import helpers

# Choices that copier.yml computes: one without a GPU, an old one, a new one.
COMPUTED = {"gpu": ["none", "T4", "H100"]}
GPUS = helpers.ROOT / "template/src/{{package_name}}/estimate/tables/gpus.csv"
# What `complete` answers.
FOLLOWING = ("base_model", "gpu_count")
# `detail` decides what is asked, and nothing is asked here.
LEFT_OUT = {"detail"}
# What adds code to a project. All of their combinations are the whole matrix, in which the other
# questions take turns.
MAIN = ("task", "strategy", "parallelism", "serving", "tracking")
GENERATING = ("llm", "multimodal")


def every_subset(values: list[Any]) -> list[tuple[Any, ...]]:
    """Return all selections, from nothing to everything."""
    return list(chain.from_iterable(combinations(values, n) for n in range(len(values) + 1)))


# Pairs of answers that the questions refuse; tests/render/test_combinations.py asks them.
REFUSED: list[frozenset[tuple[str, Any]]] = [
    frozenset({("gpu", "none"), ("parallelism", "ddp")}),
    frozenset({("gpu", "none"), ("parallelism", "fsdp")}),
    frozenset({("gpu", "T4"), ("parallelism", "fsdp")}),
    frozenset({("strategy", "qlora"), ("parallelism", "fsdp")}),
    # text that is generated is not exported as ONNX
    *(
        frozenset({("task", task), ("serving", serving)})
        for task in GENERATING
        for serving in every_subset(helpers.offered("serving"))
        if "onnx" in serving
    ),
]


@cache
def factors() -> dict[str, list[str]]:
    """Return every question with choices, and its possible answers as JSON."""
    found: dict[str, list[Any]] = dict(COMPUTED)
    for key, question in helpers.questions().items():
        values = helpers.offered(key) if key not in COMPUTED else []
        if question["type"] == "bool":
            found[key] = [False, True]
        elif values and key not in LEFT_OUT:
            found[key] = subsets(values) if question.get("multiselect") else values
    return {key: [json.dumps(value) for value in values] for key, values in found.items()}


def every_gpu() -> list[str]:
    """Return what can be answered to the question `gpu`."""
    return ["none", *(line.split(",")[0] for line in GPUS.read_text("utf-8").splitlines()[1:])]


def subsets(values: list[Any]) -> list[list[Any]]:
    """Return nothing, each value alone, and all together."""
    found = [[], *([value] for value in values)]
    return found if len(values) < 2 else [*found, values]


@cache
def covering() -> list[dict[str, Any]]:
    """Return a small list of answers in which every two choices meet; the same list each time."""
    several = {key: values for key, values in factors().items() if len(values) > 1}
    rows = make(several, constraints=[_not_both(pair) for pair in REFUSED])
    single = {key: values[0] for key, values in factors().items() if len(values) == 1}
    return [complete({**single, **row}) for row in rows]


def chosen_for_this_run() -> list[dict[str, Any]]:
    """Return the small list, or the part of the whole matrix that ML_TEMPLATE_MATRIX names.

    `2/8` is the second of eight parts.
    """
    if not os.environ.get("ML_TEMPLATE_MATRIX"):
        return covering()
    return part_named_by("ML_TEMPLATE_MATRIX", whole_matrix()[0])


def covering_for_this_run() -> list[dict[str, Any]]:
    """Return the small list, or the part of it that ML_TEMPLATE_SUITES names, such as `2/8`."""
    return part_named_by("ML_TEMPLATE_SUITES", covering())


def part_named_by(variable: str, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the second of eight parts where the variable holds `2/8`; all where it is not set."""
    wanted = os.environ.get(variable) or "1/1"
    part, parts = map(int, wanted.split("/"))
    if not 1 <= part <= parts:
        raise ValueError(f"{variable}={wanted}: write a part and their number, such as 2/8")
    return rows[part - 1 :: parts]


def _not_both(pair: frozenset[tuple[str, Any]]) -> dict[str, Any]:
    (first, one), (second, other) = pair
    conditions = [
        {"operator": "ne", "left": first, "value": json.dumps(one)},
        {"operator": "ne", "left": second, "value": json.dumps(other)},
    ]
    return {"operator": "or", "conditions": conditions}


def complete(row: dict[str, str]) -> dict[str, Any]:
    """Return answers, with a base model that the strategy can train, and GPUs to share.

    `FOLLOWING` names both.
    """
    answers = {key: json.loads(row[key]) for key in factors()}
    return {
        **answers,
        "base_model": "scratch" if answers["strategy"] == "full" else "./base",
        "gpu_count": 1 if answers["parallelism"] == "single" else 2,
    }


def pairs(answers: dict[str, Any]) -> set[tuple[str, str, str, str]]:
    """Return every two choices that meet in these answers."""
    chosen = [(key, json.dumps(answers[key])) for key in factors()]
    return {(*first, *second) for first, second in combinations(chosen, 2)}


class Coverage(NamedTuple):
    """How far the small list of answers reaches, in pairs of choices."""

    pairs: set[tuple[str, str, str, str]]
    refused: set[tuple[str, str, str, str]]
    met: set[tuple[str, str, str, str]]

    @property
    def missing(self) -> set[tuple[str, str, str, str]]:
        """Accepted pairs in no project of the list."""
        return self.pairs - self.refused - self.met

    def __str__(self) -> str:
        every = math.prod(map(len, factors().values()))
        accepted, refused = whole_matrix()
        return (
            f"{len(factors())} questions with {sum(map(len, factors().values()))} choices make "
            f"{len(self.pairs)} pairs: {len(self.met)} meet in {len(covering())} projects, "
            f"{len(self.refused)} are refused, {len(self.missing)} are missing.\n"
            f"All choices together: {every:,} combinations. The whole matrix, of what adds code "
            f"({', '.join(MAIN)}): {len(accepted):,} accepted and {len(refused):,} refused.\n"
            f"Left out of the pairs: {len(every_gpu()) - len(COMPUTED['gpu'])} of the "
            f"{len(every_gpu())} answers to gpu, for which {', '.join(COMPUTED['gpu'])} stand; "
            "where several can be chosen, selections other than none, one and all; names, numbers "
            f"and paths, of which {' and '.join(FOLLOWING)} follow from strategy and parallelism; "
            f"and {' and '.join(LEFT_OUT)}, which only decides what is asked."
        )


def coverage() -> Coverage:
    """Count the pairs of choices, those that the questions refuse, and those that meet."""
    several = combinations(factors().items(), 2)
    every = {(a, x, b, y) for (a, xs), (b, ys) in several for x in xs for y in ys}
    refused = {(a, x, b, y) for a, x, b, y in every if _refuses({a: x, b: y})}
    return Coverage(every, refused, set().union(*map(pairs, covering())))


def _refuses(chosen: dict[str, str]) -> bool:
    """Whether these answers, as JSON, hold a pair that is refused."""
    chosen_pairs = combinations(chosen.items(), 2)
    return any({first, second} in _refused_as_json() for first, second in chosen_pairs)


@cache
def _refused_as_json() -> list[set[tuple[str, str]]]:
    return [{(key, json.dumps(value)) for key, value in pair} for pair in REFUSED]


@cache
def whole_matrix() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the accepted and the refused combinations of `MAIN`, the other questions in turn."""
    main = {
        key: [json.dumps(value) for value in every_subset(helpers.offered(key))]
        if helpers.questions()[key].get("multiselect")
        else factors()[key]
        for key in MAIN
    }
    others = {key: values for key, values in factors().items() if key not in MAIN}
    accepted: list[dict[str, Any]] = []
    refused: list[dict[str, Any]] = []
    for number, chosen in enumerate(product(*main.values())):
        row = dict(zip(main, chosen, strict=True))
        for key, values in others.items():  # in no step with the others, and the same each time
            row[key] = values[zlib.crc32(f"{key} {number}".encode()) % len(values)]
        if row["parallelism"] != '"single"':
            row["gpu"] = '"H100"'
        (refused if _refuses(row) else accepted).append(complete(row))
    return accepted, refused


def name(answers: dict[str, Any]) -> str:
    """Return a short name for a test report."""
    serving = "+".join(answers["serving"]) or "unserved"
    parts = ("task", "strategy", "parallelism", "environment", "ci", "license", "gpu")
    tracking = "+".join(answers["tracking"]) or "untracked"
    return "-".join([*(str(answers[part]) for part in parts), serving, tracking])


if __name__ == "__main__":
    found = coverage()
    print(found)
    for pair in sorted(found.missing):
        print("missing: {} {} with {} {}".format(*pair))
    sys.exit(1 if found.missing else 0)
