"""What we recommend for the answers so far, each with its reason, and what cannot work.

Sizes come from the generated package's own estimate, so that the questions and
`make estimate` never disagree.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from . import machine

SCRATCH = "scratch"
NO_GPU = "none"
FULL = "full"
LORA = "lora"

# (max_seq_len, micro_batch_size, activation_checkpointing), the most comfortable first.
SIZES = (
    (1024, 8, False),
    (1024, 4, False),
    (1024, 8, True),
    (1024, 4, True),
    (1024, 2, True),
    (1024, 1, True),
    (512, 1, True),
    (256, 1, True),
)
USUAL_SIZES = (1024, 1, True)  # what a recommendation must fit
SMALLEST_SIZES = SIZES[-1]  # what is refused does not even hold these
CPU_SIZES = (256, 4, False)
# On a CPU, full training above this size takes more patience and memory than most have.
CPU_FULL_PARAMETERS = 300_000_000
KIND_OF_TASK = {"llm": "decoder"}


class Recommendation(NamedTuple):
    """A value to start from, and one sentence why."""

    value: Any
    reason: str


def read_recommended(path: Path) -> dict[str, list[str]]:
    """Return the models to start from for each task, smallest first."""
    found: dict[str, list[str]] = {}
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            found.setdefault(row["task"], []).append(row["hub_id"])
    return found


def _sizes(sizes: tuple[int, int, bool], reason: str) -> Recommendation:
    keys = ("max_seq_len", "micro_batch_size", "activation_checkpointing")
    return Recommendation(dict(zip(keys, sizes, strict=True)), reason)


class Advice:
    """Recommendations for one set of answers, each computed when it is looked at."""

    def __init__(
        self,
        answers: Mapping[str, Any],
        estimate: Any,
        recommended: Mapping[str, Sequence[str]],
        offered: Mapping[str, Sequence[Any]],
    ) -> None:
        self._answers = answers
        self._estimate = estimate
        self._recommended = recommended
        self._offered = offered

    # ── Recommendations ──────────────────────────────────────────────────────────────────────────

    @cached_property
    def gpu(self) -> Recommendation:
        """The GPU of this machine."""
        found = machine.nvidia_gpus()
        if not found:
            return Recommendation(
                NO_GPU,
                "No NVIDIA GPU answers here: choose none to train on the CPU, "
                "or the GPU of the machine you will train on.",
            )
        try:
            gpu = self._estimate.find_gpu(found[0])
        except self._estimate.EstimateError:
            return Recommendation(
                NO_GPU, f"This machine's {found[0]} is not listed: choose the nearest in memory."
            )
        return Recommendation(
            gpu.name, f"This machine has {len(found)} x {gpu.name} ({gpu.memory_gib:.1f} GiB)."
        )

    @cached_property
    def gpu_count(self) -> Recommendation:
        """One process uses one GPU."""
        present = len(machine.nvidia_gpus())
        if self._gpu is None:
            return Recommendation(1, "Without a GPU there is one process.")
        if not self._can_use_several:
            return Recommendation(1, f"This version trains on one. {self.affordable}".strip())
        return Recommendation(
            max(present, 1), f"This machine has {present}. {self.affordable}".strip()
        )

    @property
    def affordable(self) -> str:
        """How many GPU hours the budget buys, in a sentence; empty without a budget or a price."""
        budget_usd = self._answers.get("budget_usd") or 0
        if self._gpu is None or not budget_usd:
            return ""
        hour = self._estimate.Range(1.0, 1.0)
        usd_per_hour = self._estimate.cost_usd(hour, self._gpu.name)
        if usd_per_hour is None:
            return ""
        low, high = budget_usd / usd_per_hour.high, budget_usd / usd_per_hour.low
        hours = f"{low:.0f}" if round(low) == round(high) else f"{low:.0f} to {high:.0f}"
        return f"{budget_usd:g} USD buy about {hours} hours of one {self._gpu.name}."

    @cached_property
    def base_model(self) -> Recommendation:
        """The largest recommended model that trains on the chosen hardware."""
        models = self._recommended.get(self._answers.get("task") or "", ())
        if not models:
            return Recommendation(SCRATCH, "No model is recommended for this task yet.")
        if self._gpu is None or self._answers.get("target") in ("edge", "mobile"):
            where = "a CPU" if self._gpu is None else "a small device"
            return Recommendation(models[0], f"{self._described(models[0])} suits {where}.")
        fitting = [model for model in models if self._trains(model)]
        best = fitting[-1] if fitting else models[0]
        return Recommendation(
            best,
            f"{self._described(best)} is the largest of {len(models)} recommended "
            f"that trains in the {self._gpu_text}.",
        )

    @cached_property
    def strategy(self) -> Recommendation:
        """Full training where it fits, else LoRA."""
        model = self._answers.get("base_model") or ""
        if model == SCRATCH:
            return Recommendation(FULL, "Random weights must all be trained.")
        shape = self._shape(model)
        if shape is None:
            return Recommendation(
                LORA, "The size of this model is not known here, and LoRA needs the least memory."
            )
        full_gib = self._needed_gib(shape, FULL)
        size = f"Full training of {self._size(shape)} parameters needs about {full_gib:.1f} GiB"
        if self._gpu is None:
            if shape.params <= CPU_FULL_PARAMETERS:
                return Recommendation(FULL, f"{size} of memory, which a CPU machine can spare.")
            return Recommendation(LORA, f"{size} and much time on a CPU; LoRA less of both.")
        if self._estimate.fits(self._memory(shape, FULL, *USUAL_SIZES), self._gpu):
            return Recommendation(FULL, f"{size} and fits the {self._gpu_text}.")
        lora_gib = self._needed_gib(shape, LORA)
        return Recommendation(
            LORA, f"{size}, too much for the {self._gpu_text}; LoRA needs about {lora_gib:.1f} GiB."
        )

    @cached_property
    def sizes(self) -> Recommendation:
        """`micro_batch_size`, `max_seq_len` and `activation_checkpointing` that fit the answers."""
        model = self._answers.get("base_model") or ""
        shape = self._shape(model)
        if self._gpu is None:
            return _sizes(CPU_SIZES, "Small steps, so that a CPU shows progress.")
        if model == SCRATCH:
            return _sizes(SIZES[0], "A small model of random weights leaves the GPU room.")
        if shape is None:
            return _sizes(USUAL_SIZES, "The size of this model is not known here.")
        strategy = self._answers.get("strategy") or FULL
        for sizes in SIZES:
            memory = self._memory(shape, strategy, *sizes)
            if self._estimate.fits(memory, self._gpu):
                break
        reason = f"{strategy} training then peaks at about {memory.peak_gib:.1f} GiB"
        return _sizes(sizes, f"{reason}; the {self._gpu.name} has {self._gpu.memory_gib:.1f} GiB.")

    # ── What cannot work ─────────────────────────────────────────────────────────────────────────

    @property
    def gpu_count_problem(self) -> str:
        """Why the answered number of GPUs cannot be used, or nothing."""
        count = self._answers.get("gpu_count", 1)
        if count < 1:
            return "choose 1 or more; to train without a GPU choose gpu none"
        if count > 1 and self._gpu is None:
            return "without a GPU there is one process; choose 1, or name a GPU"
        if count > 1 and not self._can_use_several:
            return "this version trains on one GPU; choose 1"
        return ""

    @property
    def base_model_problem(self) -> str:
        """Why the answered model cannot be trained on the answered hardware, or nothing."""
        model = self._answers.get("base_model") or ""
        shape = self._shape(model)
        if shape is None:
            return ""
        task = self._answers.get("task") or ""
        kind = KIND_OF_TASK.get(task)
        if kind and shape.kind != kind:
            nearest = self._recommended[task][0]
            return f"{model} reads text but cannot write it, which {task} needs; choose {nearest}"
        if self._gpu is None or self._could_hold(shape, LORA):
            return ""
        need = self._memory(shape, LORA, *SMALLEST_SIZES).peak_gib
        text = f"even LoRA needs {need:.1f} GiB, more than the {self._gpu_text} can hold"
        nearest = self._largest_preset(shape.kind)
        choice = f"{nearest} or a larger GPU" if nearest else "a larger GPU"
        return f"{text}; choose {choice}"

    def strategy_problem(self, strategy: str) -> str:
        """Why a strategy cannot work with the answered model and GPU, or nothing."""
        model = self._answers.get("base_model") or ""
        if strategy == LORA and model == SCRATCH:
            return "random weights have nothing to adapt; choose full"
        shape = self._shape(model)
        if strategy != FULL or shape is None or self._gpu is None or self._could_hold(shape, FULL):
            return ""
        need = self._memory(shape, FULL, *SMALLEST_SIZES).peak_gib
        text = f"full training needs {need:.1f} GiB, more than the {self._gpu_text} can hold"
        return f"{text}; choose lora"

    # ── Sizes ────────────────────────────────────────────────────────────────────────────────────

    @cached_property
    def _gpu(self) -> Any:
        name = self._answers.get("gpu")
        return None if name in (None, NO_GPU) else self._estimate.gpus().get(name)

    @property
    def _gpu_text(self) -> str:
        return f"{self._gpu.name}'s {self._gpu.memory_gib:.1f} GiB"

    @property
    def _can_use_several(self) -> bool:
        return any(value != "single" for value in self._offered.get("parallelism", ()))

    def _shape(self, model: str) -> Any:
        """Return the shape of a preset, its instruct variant or a local folder; else None."""
        presets = self._estimate.models()
        plain = re.sub(r"(?i)-(instruct|chat|base|it)$", "", model)
        if model in presets or plain in presets:
            return presets.get(model) or presets[plain]
        if not model.startswith((".", "/", "~")):
            return None
        try:
            config = json.loads((Path(model).expanduser() / "config.json").read_text("utf-8"))
            return self._estimate.shape_from_config(config)
        except (OSError, ValueError):
            return None

    def _memory(
        self,
        shape: Any,
        strategy: str,
        max_seq_len: int,
        micro_batch_size: int,
        activation_checkpointing: bool,
    ) -> Any:
        precision = "fp32"
        if self._gpu is not None:
            precision = "bf16" if self._gpu.bf16_tflops else "fp16"
        return self._estimate.training_memory(
            shape,
            strategy=strategy,
            precision=precision,
            micro_batch_size=micro_batch_size,
            max_seq_len=max_seq_len,
            activation_checkpointing=activation_checkpointing,
        )

    def _needed_gib(self, shape: Any, strategy: str) -> float:
        """Return the peak, on a GPU with what the driver and the allocator keep besides."""
        peak_gib = float(self._memory(shape, strategy, *USUAL_SIZES).peak_gib)
        if self._gpu is None:
            return peak_gib
        return peak_gib * float(self._estimate.FRAGMENTATION) + float(self._estimate.CONTEXT_GIB)

    def _trains(self, model: str) -> bool:
        shape = self._shape(model)
        return shape is not None and self._estimate.fits(
            self._memory(shape, LORA, *USUAL_SIZES), self._gpu
        )

    def _could_hold(self, shape: Any, strategy: str) -> bool:
        """Whether the GPU holds one short sequence, with nothing lost to fragmentation."""
        peak_gib = self._memory(shape, strategy, *SMALLEST_SIZES).peak_gib
        return bool(peak_gib + self._estimate.CONTEXT_GIB <= self._gpu.memory_gib)

    def _largest_preset(self, kind: str) -> str:
        """Return the largest preset of a kind that the GPU holds with LoRA."""
        fitting = [
            (shape.params, model)
            for model, shape in self._estimate.models().items()
            if shape.kind == kind and self._could_hold(shape, LORA)
        ]
        return max(fitting)[1] if fitting else ""

    def _described(self, model: str) -> str:
        shape = self._shape(model)
        return f"{model} ({self._size(shape)} parameters)" if shape else model

    def _size(self, shape: Any) -> str:
        billions = shape.params / 1e9
        return f"{billions:.1f} B" if billions >= 1 else f"{billions * 1000:.0f} M"
