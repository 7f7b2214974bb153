"""Advice for answers, as the questionnaire gives it, for the tests of advice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from types import ModuleType
from typing import Any

import helpers
from extensions import advice, context, machine

# Every choice that the rules know of where it matters; of the others what is offered.
OFFERED: dict[str, list[str]] = {
    "parallelism": ["single", "ddp", "fsdp"],
    "strategy": ["full", "lora", "qlora"],
    "platform": ["local"],
    "serving": ["fastapi"],
    "framework": ["transformers"],
    "tracking": [],
}


@cache
def estimate() -> ModuleType:
    """Return the generated package's estimate."""
    return context.load(context.ESTIMATE, package=True)


@cache
def recommended() -> dict[str, list[str]]:
    """Return the models to start from, by task."""
    return advice.read_recommended(helpers.ROOT / "extensions" / "recommended_models.csv")


def advise(
    offered: dict[str, list[str]] = OFFERED,
    found: Any = None,
    detected: Callable[[], Sequence[str]] = machine.nvidia_gpus,
    **answers: Any,
) -> advice.Advice:
    """Return the advice for these answers."""
    return advice.Advice(answers, estimate(), recommended(), offered, found, detected)
