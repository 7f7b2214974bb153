"""What we recommend for the answers so far, each with its reason, and what cannot work.

Sizes come from the generated package's own estimate, so that the questions and
`make estimate` never disagree. The rules are in `rules/`, one file a subject; each is a function
of the answers, of what the folder holds and of this machine's GPUs, and of nothing else.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from . import machine
from .rules import hardware, models, places, problems, sizes, strategies
from .rules import serving as serving_rules
from .rules.facts import (
    LORA_RANK,
    SCRATCH,
    STRATEGY_LABELS,
    Facts,
    Plan,
    Recommendation,
    duration,
    millions,
    size,
    span,
)


def read_recommended(path: Path) -> dict[str, list[str]]:
    """Return the models to start from for each task, smallest first."""
    found: dict[str, list[str]] = {}
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            found.setdefault(row["task"], []).append(row["hub_id"])
    return found


class Advice:
    """Recommendations for one set of answers, each computed when it is looked at."""

    def __init__(
        self,
        answers: Mapping[str, Any],
        estimate: Any,
        recommended: Mapping[str, Sequence[str]],
        offered: Mapping[str, Sequence[Any]],
        found: Any = None,
        detected: Callable[[], Sequence[str]] = machine.nvidia_gpus,
    ) -> None:
        self._facts = Facts(answers, estimate, recommended, offered, found, detected)

    # ── Recommendations ──────────────────────────────────────────────────────────────────────────

    @cached_property
    def task(self) -> Recommendation:
        """What the data here is for."""
        return places.task(self._facts)

    @cached_property
    def data_file(self) -> Recommendation:
        """The data in this folder, where it is for the task."""
        return places.data_file(self._facts)

    @cached_property
    def data_facts(self) -> dict[str, Any]:
        """What was counted in the answered data file, to be stored as an answer."""
        return places.data_facts(self._facts)

    @cached_property
    def gpu(self) -> Recommendation:
        """The GPU of this machine, or one that the budget rents."""
        return hardware.gpu(self._facts)

    @cached_property
    def gpu_count(self) -> Recommendation:
        """How many of it."""
        return hardware.gpu_count(self._facts)

    @cached_property
    def affordable(self) -> str:
        """How many GPU hours the budget buys, in a sentence; empty without a budget or a price."""
        return hardware.affordable(self._facts, self._facts.gpu, self._facts.gpu_count)

    @cached_property
    def framework(self) -> Recommendation:
        """The library that trains."""
        return places.framework(self._facts)

    @cached_property
    def base_model(self) -> Recommendation:
        """The largest recommended model that trains well on the chosen hardware."""
        return models.base_model(self._facts)

    @cached_property
    def strategy(self) -> Recommendation:
        """Full, LoRA or QLoRA."""
        return strategies.strategy(self._facts)

    @cached_property
    def parallelism(self) -> Recommendation:
        """How the work is spread for the answered strategy."""
        answered = self._facts.answers.get("strategy") or self.strategy.value
        return strategies.parallelism(self._facts, answered)

    @cached_property
    def platform(self) -> Recommendation:
        """Where jobs run."""
        return places.platform(self._facts)

    @cached_property
    def serving(self) -> Recommendation:
        """How the model is served."""
        return places.serving(self._facts)

    @property
    def serving_memory(self) -> serving_rules.Memory | None:
        """GiB of main memory that one replica of the service needs; None: not known."""
        return serving_rules.memory_gib(self._facts)

    @cached_property
    def tracking(self) -> Recommendation:
        """Where runs are recorded."""
        return places.tracking(self._facts)

    @cached_property
    def sizes(self) -> Recommendation:
        """The batch and sequence sizes of `configs/train.yaml`, by its keys."""
        chosen = sizes.sizes(self._facts, self._plan)
        return chosen._replace(value=sizes.as_mapping(chosen.value))

    @property
    def epochs(self) -> int:
        """Passes over the data."""
        return self._facts.epochs

    @cached_property
    def precision(self) -> Recommendation:
        """What `train.precision: auto` becomes."""
        return sizes.precision(self._facts)

    @cached_property
    def learning_rate(self) -> Recommendation:
        """The peak learning rate, as YAML text."""
        return sizes.learning_rate(self._facts, self._plan.strategy)

    @cached_property
    def lora_rank(self) -> Recommendation:
        """The rank of the adapters."""
        return Recommendation(
            LORA_RANK,
            f"Rank {LORA_RANK} on all linear maps learns most tasks.",
            ((2 * LORA_RANK, "twice the adapters; worth trying when the loss stays high."),),
        )

    @cached_property
    def prediction(self) -> str:
        """Peak memory, time and dollars of the run as configured, in two sentences at most."""
        facts, shape = self._facts, self._facts.shape
        if facts.model == SCRATCH or shape is None:
            return ""
        chosen = sizes.sizes(facts, self._plan).value
        memory = facts.memory(shape, self._plan, chosen)
        if memory is None:
            return ""
        what = f"{STRATEGY_LABELS[self._plan.strategy]} training of {size(shape)} parameters needs"
        if facts.gpu is None:
            return f"{what} about {memory.peak_gib:.1f} GiB of memory."
        text = f"{what} about {facts.needed_gib(memory):.1f} of the {facts.gpu_text}."
        hours = facts.hours(shape, self._plan, chosen)
        if hours is None:
            return text
        tokens, source = facts.tokens(shape)
        usd = facts.usd(hours, facts.gpu, facts.gpu_count)
        cost = f", {span(usd.low, usd.high)} USD where it is rented" if usd is not None else ""
        took = f"{millions(tokens)} tokens ({source}) take {duration(hours)}{cost}."
        return f"{text} {took}"

    @property
    def told_of_base_model(self) -> str:
        """What the question of the base model says: the reason, and why not a larger one."""
        return _lines(self.base_model)

    @property
    def told_of_strategy(self) -> str:
        """The same for the strategy, without those that are shown as impossible."""
        return _lines(self.strategy, self.strategy_problem)

    # ── What cannot work ─────────────────────────────────────────────────────────────────────────

    @property
    def data_file_problem(self) -> str:
        """Why the answered path cannot be written down, or nothing."""
        return problems.data_file(self._facts)

    @property
    def gpu_count_problem(self) -> str:
        """Why the answered number of GPUs cannot be used, or nothing."""
        return problems.gpu_count(self._facts)

    @property
    def base_model_problem(self) -> str:
        """Why the answered model cannot be trained on the answered hardware, or nothing."""
        return problems.base_model(self._facts)

    def strategy_problem(self, strategy: str) -> str:
        """Why a strategy cannot work with the answered model and GPUs, or nothing."""
        return problems.strategy(self._facts, strategy)

    def serving_problem(self, serving: str) -> str:
        """Why a way to serve cannot work with the answered task, or nothing."""
        return problems.serving(self._facts, serving)

    def parallelism_problem(self, parallelism: str) -> str:
        """Why a way to spread the work cannot work with the other answers, or nothing."""
        return problems.parallelism(self._facts, parallelism)

    @cached_property
    def _plan(self) -> Plan:
        plan: Plan = places.answered_plan(self._facts)
        return plan


def _lines(advised: Recommendation, problem: Callable[[Any], str] = lambda _: "") -> str:
    rejected = [f"Not {value}: {why}" for value, why in advised.rejected if not problem(value)]
    return "\n".join([advised.reason, *rejected])


__all__ = ["Advice", "Recommendation", "read_recommended"]
