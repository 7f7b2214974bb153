"""What cannot work, in one sentence each, with the nearest choice that does."""

from __future__ import annotations

import re
from typing import Any

from . import sizes, strategies
from .facts import (
    DDP,
    FSDP,
    FULL,
    KINDS,
    SCRATCH,
    SINGLE,
    STRATEGY_LABELS,
    Facts,
    Plan,
)

GENERATING = ("llm", "multimodal")
MAX_GPUS = 1024  # as in scripts/estimate.py
# What a model of a kind does, and what a task asks of one.
ABILITIES = {
    "decoder": "writes text",
    "encoder": "reads text but cannot write it",
    "vision": "sees images only",
    "audio": "hears sound only",
    "vision_language": "writes about images and text",
}


def data_file(facts: Facts) -> str:
    """Why the answered path cannot be written down, or nothing."""
    path = str(facts.answers.get("data_file") or "")
    if len(path) > 200 or not re.fullmatch(r"[\w./+@=,~: -]*", path):
        return "write a path of at most 200 letters, digits and ./_-+@=, such as data/raw/rows.csv"
    if path and not path.strip("./ "):
        return (
            "the project's own files lie there too; move the data into one folder, such as data/raw"
        )
    return ""


def gpu_count(facts: Facts) -> str:
    """Why the answered number of GPUs cannot be used, or nothing."""
    count = facts.answers.get("gpu_count", 1)
    if count is None:
        return ""
    if count < 1:
        return "to train without a GPU choose gpu none; else choose 1 or more"
    if count > 1 and facts.gpu is None:
        return "without a GPU there is one process; choose 1, or name a GPU"
    if count > 1 and not facts.can_use_several:
        return "this version trains on one GPU; choose 1"
    if count > MAX_GPUS:
        return f"nothing is known here of more than {MAX_GPUS} GPUs; choose {MAX_GPUS} or fewer"
    return ""


def base_model(facts: Facts) -> str:
    """Why the answered model cannot be trained for the task on the answered GPUs, or nothing."""
    shape = facts.shape
    if facts.unloadable:
        usual = (*facts.recommended.get(facts.task, ()), SCRATCH)[0]
        return f"its config.json {facts.unloadable}; mend it, or choose {usual}"
    if shape is None or facts.is_guessed(facts.model):
        return ""
    kinds = KINDS.get(facts.task)
    if kinds and shape.kind not in kinds:
        ability = ABILITIES.get(shape.kind, "is of another kind")
        models = facts.recommended.get(facts.task)
        instead = f"choose {models[0]}" if models else "choose scratch"
        return f"{facts.model} {ability}, and {facts.task} needs another kind; {instead}"
    if facts.gpu is None or strategies.holdable(facts, shape) is not None:
        return ""
    needs = _smallest_need(facts, shape)
    text = f"even {needs[1]} needs {needs[0]:.1f} GiB, more than the {facts.gpu_text} can hold"
    nearest = _largest_preset(facts, shape.kind)
    choice = f"{nearest} or a larger GPU" if nearest else "a larger GPU"
    return f"{text}; choose {choice}"


def strategy(facts: Facts, wanted: str) -> str:
    """Why a strategy cannot work with the answered model and GPUs, or nothing."""
    if wanted != FULL and facts.model == SCRATCH:
        return "random weights have nothing to adapt; choose full"
    shape = facts.shape
    if shape is None or facts.gpu is None or facts.is_guessed(facts.model):
        return ""
    if strategies.holdable(facts, shape, wanted) is not None:
        return ""
    needs = [
        facts.needed_gib(memory)
        for plan in strategies.plans(facts, shape, facts.gpu_count)
        if plan.strategy == wanted and (memory := strategies.memory(facts, shape, plan)) is not None
    ]
    instead = strategies.best(facts, shape) or strategies.holdable(facts, shape)
    if not needs or instead is None:
        return ""  # the model itself was refused before
    label = STRATEGY_LABELS[wanted] if wanted != FULL else "full training"
    text = f"{label} needs {min(needs):.1f} GiB, more than the {facts.gpu_text} can hold"
    return f"{text}; choose {instead.strategy}"


def parallelism(facts: Facts, wanted: str) -> str:
    """Why a way to spread the work cannot work with the other answers, or nothing."""
    count = facts.gpu_count
    if wanted != SINGLE and count == 1:
        have = "there is none" if facts.gpu is None else "there is one"
        return f"it needs several GPUs and {have}; choose single"
    if wanted == SINGLE:
        if count > 1 and facts.can_use_several:
            return f"one process leaves {count - 1} of {count} GPUs idle; choose {_several(facts)}"
        return ""
    if wanted == FSDP and not strategies.can_share(facts.gpu):
        return f"it needs bf16, which the {facts.gpu.name} does not have; choose ddp"
    strategy = str(facts.answers.get("strategy") or "")
    if (strategy, wanted) in strategies.NOT_TOGETHER:
        return strategies.NOT_TOGETHER[Plan(strategy, wanted)]
    shape = facts.shape
    if wanted != DDP or shape is None or not strategy or facts.is_guessed(facts.model):
        return ""
    memory = facts.memory(shape, Plan(strategy, DDP), sizes.smallest(facts, shape))
    if facts.can_hold(memory):
        return ""
    text = f"each GPU would hold the whole model: {facts.needed_gib(memory):.1f} GiB"
    instead = "fsdp"
    if not strategies.can_share(facts.gpu):
        fitting = strategies.holdable(facts, shape, parallelism=DDP)
        instead = f"the strategy {fitting.strategy}" if fitting else "a smaller model"
    return f"{text}, and has {facts.gpu.memory_gib:.1f}; choose {instead}"


def serving(facts: Facts, wanted: str) -> str:
    """Why a way to serve cannot work with the answered task, or nothing."""
    if wanted == "onnx" and facts.task in GENERATING:
        return (
            "it exports classifiers: text is generated with a cache that grows with each token, "
            "which is not exported here; choose fastapi"
        )
    return ""


def _several(facts: Facts) -> str:
    strategy = str(facts.answers.get("strategy") or "")
    return str(strategies.parallelism(facts, strategy).value)


def _smallest_need(facts: Facts, shape: Any) -> tuple[float, str]:
    needs = []
    for plan in strategies.plans(facts, shape, facts.gpu_count):
        memory = facts.memory(shape, plan, sizes.smallest(facts, shape))
        if memory is not None:
            needs.append((facts.needed_gib(memory), STRATEGY_LABELS[plan.strategy]))
    return min(needs)


def _largest_preset(facts: Facts, kind: str) -> str:
    """Return the largest preset of a kind that the answered GPUs hold."""
    fitting = [
        (shape.params, model)
        for model, shape in facts.estimate.models().items()
        if shape.kind == kind and strategies.holdable(facts, shape) is not None
    ]
    return max(fitting)[1] if fitting else ""
