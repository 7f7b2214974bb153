"""Answers that together hold every pair of offered choices, computed from copier.yml."""

from __future__ import annotations

import json
from functools import cache
from itertools import combinations
from typing import Any

from covertable import make

import helpers

# Choices that copier.yml computes: one without a GPU, an old one, a new one.
COMPUTED = {"gpu": ["none", "T4", "H100"]}
# `detail` decides what is asked, and nothing is asked here.
LEFT_OUT = {"detail"}
# Pairs of answers that the questions refuse; tests/unit/test_advice.py tests the refusals.
REFUSED: set[frozenset[tuple[str, Any]]] = {
    frozenset({("gpu", "none"), ("parallelism", "ddp")}),
    frozenset({("gpu", "none"), ("parallelism", "fsdp")}),
    frozenset({("gpu", "T4"), ("parallelism", "fsdp")}),
    frozenset({("strategy", "qlora"), ("parallelism", "fsdp")}),
    # text that is generated is not exported as ONNX
    *(
        frozenset({("task", task), ("serving", serving)})
        for task in ("llm", "multimodal")
        for serving in (("onnx",), ("fastapi", "hf_endpoints", "onnx"))
    ),
}


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


def _not_both(pair: frozenset[tuple[str, Any]]) -> dict[str, Any]:
    (first, one), (second, other) = pair
    conditions = [
        {"operator": "ne", "left": first, "value": json.dumps(one)},
        {"operator": "ne", "left": second, "value": json.dumps(other)},
    ]
    return {"operator": "or", "conditions": conditions}


def complete(row: dict[str, str]) -> dict[str, Any]:
    """Return answers, with a base model that the strategy can train, and GPUs to share."""
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


def name(answers: dict[str, Any]) -> str:
    """Return a short name for a test report."""
    serving = "+".join(answers["serving"]) or "unserved"
    parts = ("task", "strategy", "parallelism", "environment", "ci", "license", "gpu")
    tracking = "+".join(answers["tracking"]) or "untracked"
    return "-".join([*(str(answers[part]) for part in parts), serving, tracking])
