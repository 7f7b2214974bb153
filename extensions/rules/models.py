"""Which model to start from."""

from __future__ import annotations

from typing import Any

from . import sizes, strategies
from .facts import QLORA, SCRATCH, Facts, Recommendation, span, trained

SMALL_TARGETS = ("edge", "mobile")


def base_model(facts: Facts) -> Recommendation:
    """The largest recommended model that trains on the answered hardware within the budget."""
    models = facts.recommended.get(facts.task, ())
    if not models:
        return Recommendation(SCRATCH, "No model is recommended for this task yet.")
    larger = models[1] if len(models) > 1 else models[0]
    if facts.gpu is None or facts.answers.get("target") in SMALL_TARGETS:
        where, instead = "a CPU", "A GPU"
        if facts.gpu is not None:
            where, instead = "a small device", "Servers or computers as target"
        return Recommendation(
            models[0],
            f"{facts.described(models[0])} suits {where}.",
            ((larger, f"too slow on {where}."),) if larger != models[0] else (),
            f"{instead} makes room for larger ones.",
        )
    rejected: list[tuple[Any, str]] = []
    for model in reversed(models):
        why_not = _why_not(facts, model)
        if not why_not:
            return Recommendation(
                model, _reason(facts, model), tuple(rejected[-1:]), "More memory or budget."
            )
        rejected.append((model, why_not))
    return Recommendation(
        models[0],
        f"{facts.described(models[0])} is the smallest recommended; {rejected[-1][1]}",
        changes="More memory or budget.",
    )


def _why_not(facts: Facts, model: str) -> str:
    """Why the answered GPUs cannot train that model well, or nothing."""
    shape = facts.shape_of(model)
    if shape is None:
        return "its size is not known here."
    plan = strategies.best(facts, shape)
    if plan is None:
        return f"does not fit the {facts.gpu_text}."
    if plan.strategy == QLORA:
        return f"fits the {facts.gpu_text} only in 4 bit or one row at a time."
    usd = cost_of(facts, shape, plan)
    if facts.budget_usd and usd is not None and usd.high > facts.budget_usd:
        return f"may cost {span(usd.low, usd.high)} USD, more than {facts.budget_usd:g}."
    return ""


def _reason(facts: Facts, model: str) -> str:
    shape = facts.shape_of(model)
    plan = strategies.best(facts, shape)
    assert plan is not None  # _why_not asked it
    memory = strategies.memory(facts, shape, plan)
    gib = facts.needed_gib(memory)
    way = trained(plan.strategy)
    return (
        f"{facts.described(model)} is the largest of our list that trains well:\n"
        f"{way} needs from {gib:.1f} of the {facts.gpu_text} on."
    )


def cost_of(facts: Facts, shape: Any, plan: Any, gpu: Any = None, count: int | None = None) -> Any:
    """A Range of dollars for the assumed run; None where hours or prices are not known."""
    gpu, count = gpu or facts.gpu, count or facts.gpu_count
    hours = facts.hours(shape, plan, sizes.usual(facts, shape, 4, count), gpu, count)
    return facts.usd(hours, gpu, count)
