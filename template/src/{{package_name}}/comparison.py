"""GPUs and strategies side by side: what fits, with which batch, for how long and how much."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from . import estimate
from .config import SCRATCH, Config
from .estimate import EstimateError, ModelShape, Range
from .prediction import CPU, Prediction, predict

STRATEGIES = ("full", "lora", "qlora")


def compare(
    config: Config,
    *,
    gpu_count: int = 1,
    tokens: float | None = None,
    shape: ModelShape | None = None,
    prices_file: Path | None = None,
) -> list[Prediction]:
    """Every GPU of the table with every strategy: the cheapest first, what does not fit last.

    Each has the largest micro-batch that fits, of the same global batch; on several GPUs the
    faster of what fits, a whole model on each (ddp) or one shared by all (fsdp). Raises
    EstimateError where there is no formula for the model.
    """
    # the data is read and the model looked up once
    base = predict(config, CPU, tokens=tokens, shape=shape)
    scratch = shape is None and config.model.name_or_path == SCRATCH
    shared = {
        "gpu_count": gpu_count,
        "tokens": base.tokens,
        "mean_tokens": base.timed.max_seq_len,
        "shape": base.shape,
        "prices_file": prices_file,
    }
    found: list[Prediction] = []
    reason: EstimateError | None = None
    for gpu in estimate.gpus():
        for strategy in ("full",) if scratch else STRATEGIES:
            tried: list[Prediction] = []
            for spread in _spreads(gpu_count, strategy):
                for checkpointing in (False, True):
                    how = shared | {"parallelism": spread}
                    try:
                        tried.append(_largest(config, checkpointing, gpu, strategy, how))
                    except EstimateError as error:  # no formula, or fsdp without bf16
                        reason = error
            if tried:
                found.append(min(tried, key=lambda p: (not p.fits, _middle(p.hours))))
    if not found and reason:
        raise reason
    return sorted(found, key=lambda p: (not p.fits, _middle(p.usd), _middle(p.hours)))


def _spreads(gpu_count: int, strategy: str) -> tuple[str, ...]:
    """How the work may be spread; fsdp does not share 4-bit weights here."""
    if gpu_count == 1:
        return ("single",)
    return ("ddp",) if strategy == "qlora" else ("ddp", "fsdp")


def _largest(
    config: Config, checkpointing: bool, gpu: str, strategy: str, shared: dict[str, Any]
) -> Prediction:
    """The largest micro-batch of the same global batch that fits; else that of one sequence."""
    whole = max(1, config.train.global_batch_size // int(shared["gpu_count"]))
    for size in [size for size in range(whole, 0, -1) if whole % size == 0]:
        changes = {"micro_batch_size": size, "activation_checkpointing": checkpointing}
        train = config.train.model_copy(update=changes)
        candidate = config.model_copy(update={"train": train})
        prediction = predict(candidate, gpu, strategy=strategy, **shared)
        if prediction.fits:
            break
    return prediction


def _middle(ends: Range | None) -> float:
    return (ends.low + ends.high) / 2 if ends else float("inf")
