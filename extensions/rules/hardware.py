"""Which GPU, and how many: this machine's, or one that the budget rents."""

from __future__ import annotations

from typing import Any, NamedTuple

from . import models, sizes, strategies
from .facts import (
    NEVER_PROPOSED,
    NO_GPU,
    Facts,
    Plan,
    Recommendation,
    duration,
    millions,
    span,
    trained,
)

COUNTS = (1, 2, 4, 8)
PROVIDERS = {
    "aws-ec2": "AWS EC2",
    "lambda_labs": "Lambda Labs",
    "modal": "Modal",
    "sagemaker": "SageMaker",
}


class Rental(NamedTuple):
    """A rented machine, and what the assumed run takes on it."""

    gpu: Any
    number: int
    model: str
    plan: Plan
    hours: Any
    usd: Any


def gpu(facts: Facts) -> Recommendation:
    """The GPU of this machine; without one, what the budget rents; else none."""
    found = facts.detected()
    if found:
        return _detected(facts, found)
    if facts.budget_usd and not facts.is_sensitive:
        rental = rented(facts)
        if rental is not None:
            return _rented(facts, rental)
    reason = "No NVIDIA GPU answers here: choose none to train on the CPU, "
    if facts.budget_usd and facts.is_sensitive:
        reason = "The data may not leave, so no rented GPU is proposed: choose none, "
    return Recommendation(NO_GPU, f"{reason}or the GPU of the machine you will train on.")


def _detected(facts: Facts, found: Any) -> Recommendation:
    try:
        known = facts.estimate.find_gpu(found[0])
    except facts.estimate.EstimateError:
        return Recommendation(
            NO_GPU, f"This machine's {found[0]} is not listed: choose the nearest in memory."
        )
    same = sum(1 for name in found if _name(facts, name) == known.name)
    besides = f", and {len(found) - same} of another kind" if same < len(found) else ""
    text = f"This machine has {same} x {known.name} ({known.memory_gib:.1f} GiB){besides}."
    return Recommendation(known.name, text)


def _rented(facts: Facts, rental: Rental) -> Recommendation:
    tokens, source = facts.tokens(facts.shape_of(rental.model))
    run = f"{rental.model.split('/')[-1]}, {trained(rental.plan.strategy)}"
    cost = f"{duration(rental.hours)} and {span(rental.usd.low, rental.usd.high)} USD"
    within = rental.usd.high <= facts.budget_usd
    return Recommendation(
        rental.gpu.name,
        f"No GPU here, so {'a rented one' if within else 'the cheapest to rent'}: "
        f"{affordable(facts, rental.gpu, rental.number)}\n"
        f"{run}: {cost} for {millions(tokens)} tokens ({source}).",
    )


def rented(facts: Facts) -> Rental | None:
    """The cheapest rented machine for the best model whose run stays within the budget.

    Where no run does: the cheapest run of the smallest model.
    """
    wanted = [facts.model] if facts.shape is not None else []
    wanted = wanted or list(reversed(facts.recommended.get(facts.task, ())))
    counts = COUNTS if facts.shape is not None and facts.can_use_several else COUNTS[:1]
    cheapest = None
    for model in wanted:
        options = _rentals(facts, model, counts)
        if options:
            cheapest = min(options, key=lambda rental: rental.usd.high)
            if cheapest.usd.high <= facts.budget_usd:
                break
    return _with_fitted_sizes(facts, cheapest) if cheapest else None


def _with_fitted_sizes(facts: Facts, rental: Rental) -> Rental:
    """The same with the time and price of the sizes that will be configured."""
    shape, where = facts.shape_of(rental.model), (rental.gpu, rental.number)
    chosen, _ = sizes.fitted(facts, shape, rental.plan, *where)
    hours = facts.hours(shape, rental.plan, chosen, *where)
    usd = facts.usd(hours, *where)
    return rental if usd is None else rental._replace(hours=hours, usd=usd)


def _rentals(facts: Facts, model: str, counts: tuple[int, ...]) -> list[Rental]:
    shape = facts.shape_of(model)
    if shape is None:
        return []
    found = []
    for one in facts.estimate.gpus().values():
        if one.name in NEVER_PROPOSED or facts.offer(one, 1) is None:
            continue
        for count in counts:
            plan = strategies.best(facts, shape, one, count)
            if plan is None:
                continue
            hours = facts.hours(shape, plan, sizes.usual(facts, shape, 4, count), one, count)
            usd = models.cost_of(facts, shape, plan, one, count)
            if hours is not None and usd is not None:
                found.append(Rental(one, count, model, plan, hours, usd))
                break
    return found


def gpu_count(facts: Facts) -> Recommendation:
    """Those of this machine; else as few as the model needs."""
    if facts.gpu is None:
        return Recommendation(1, "Without a GPU there is one process.")
    budget = affordable(facts, facts.gpu, facts.gpu_count)
    if not facts.can_use_several:
        return Recommendation(1, f"This version trains on one. {budget}".strip())
    present = sum(1 for name in facts.detected() if _name(facts, name) == facts.gpu.name)
    if present:
        return Recommendation(present, f"This machine has {present}. {budget}".strip())
    needed = _needed(facts)
    if needed > 1:
        reason = f"{facts.described(facts.model)} needs {needed} x {facts.gpu.name}."
        return Recommendation(needed, f"{reason} {budget}".strip())
    return Recommendation(1, f"One is the cheapest for what it does. {budget}".strip())


def _name(facts: Facts, product: str) -> str:
    try:
        return str(facts.estimate.find_gpu(product).name)
    except facts.estimate.EstimateError:
        return ""


def _needed(facts: Facts) -> int:
    if facts.shape is None:
        return 1
    for count in COUNTS:
        if strategies.best(facts, facts.shape, facts.gpu, count) is not None:
            return count
    return 1


def affordable(facts: Facts, gpu: Any, count: int) -> str:
    """How many hours the budget buys, in a sentence; empty without a budget or a price."""
    if gpu is None or not facts.budget_usd or facts.is_sensitive:
        return ""
    offer = facts.offer(gpu, count)
    if offer is None:
        return ""
    hours = facts.budget_usd / offer.usd_per_hour
    what = f"one {gpu.name}" if count == 1 else f"{count} x {gpu.name}"
    hours_text = f"{hours:.0f}" if hours >= 10 else f"{hours:.1f}"
    price = (
        f"{offer.usd_per_hour:.2f} USD an hour at {PROVIDERS.get(offer.provider, offer.provider)}"
    )
    return f"{facts.budget_usd:g} USD buy about {hours_text} hours of {what} ({price})."
