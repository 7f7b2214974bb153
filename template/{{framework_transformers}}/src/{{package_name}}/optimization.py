"""Precision, optimizer and learning-rate schedule."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import nn

from .config import TrainConfig
from .errors import ConfigError

AMPERE = (8, 0)  # first compute capability with bf16 tensor cores


@dataclass(frozen=True)
class Precision:
    """`compute`: dtype of matrix products; `frozen`: dtype of weights that are not trained."""

    name: str
    compute: torch.dtype
    device: torch.device

    @property
    def frozen(self) -> torch.dtype:
        """Trained weights stay fp32 (their updates are smaller than bf16 can hold)."""
        return self.compute

    def autocast(self) -> AbstractContextManager[object]:
        """Matrix products in `compute`, sums and norms in fp32."""
        if self.compute == torch.float32:
            return nullcontext()
        return torch.autocast(self.device.type, dtype=self.compute)

    def scaler(self) -> torch.amp.GradScaler:
        """Loss scaling, which only fp16 needs."""
        return torch.amp.GradScaler(self.device.type, enabled=self.compute == torch.float16)


def pick_precision(wanted: str, device: torch.device) -> Precision:
    """Resolve `auto`. Raises ConfigError where the device cannot compute in `wanted`."""
    dtypes = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}
    if wanted == "auto":
        wanted = "fp32"
        if device.type == "cuda":
            modern = torch.version.hip or torch.cuda.get_device_capability(device) >= AMPERE
            wanted = "bf16" if modern else "fp16"
    elif wanted == "fp16" and device.type == "cpu":
        raise ConfigError("train.precision: fp16 needs a GPU; use fp32, bf16 or auto on a CPU")
    return Precision(wanted, dtypes[wanted], device)


def make_optimizer(parameters: Mapping[str, nn.Parameter], train: TrainConfig) -> torch.optim.AdamW:
    """AdamW (Loshchilov and Hutter 2019); decay on matrices, none on biases and norms."""
    matrices = [p for p in parameters.values() if p.ndim >= 2]
    vectors = [p for p in parameters.values() if p.ndim < 2]
    groups = [
        {"params": matrices, "weight_decay": train.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    # one pass over memory for each tensor; a step count is kept where its parameter is
    fused = all(p.device.type in ("cuda", "cpu") for p in parameters.values())
    return torch.optim.AdamW(
        [group for group in groups if group["params"]], lr=train.learning_rate, fused=fused
    )


def learning_rate(step: int, total_steps: int, train: TrainConfig) -> float:
    """Rate of optimizer step `step`, counted from 0: linear warm-up, then the schedule."""
    share = train.warmup_steps < 1
    warmup = math.ceil(train.warmup_steps * total_steps) if share else int(train.warmup_steps)
    if step < warmup:
        return train.learning_rate * (step + 1) / warmup
    progress = (step - warmup) / max(1, total_steps - warmup)
    decay = {
        "constant": 1.0,
        "linear": 1.0 - progress,
        "cosine": 0.5 * (1.0 + math.cos(math.pi * progress)),
    }
    return train.learning_rate * decay[train.schedule]
