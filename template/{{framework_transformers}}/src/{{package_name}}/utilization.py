"""How much of the GPU's arithmetic the training uses (MFU; Chowdhery et al. 2022, appendix B)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from . import estimate
from .data import Dataset
from .estimate.cost import peak_flops
from .finetuning import STRATEGY
from .optimization import Precision


@dataclass(frozen=True)
class Utilization:
    """Both None for an architecture or a GPU that is not known."""

    flops_per_unit: float | None
    """What the model needs for a token, or for an image or sound, without recomputation."""
    peak_flops: float | None
    """Dense peak of one GPU in the compute dtype, FLOP/s."""

    @classmethod
    def of(cls, model: Any, data: Dataset, precision: Precision) -> Utilization | None:
        """None on a CPU."""
        if precision.device.type != "cuda":
            return None
        return cls(_flops_per_unit(model, data), _peak_flops(precision))

    def mfu(self, units: int, seconds: float, gpus: int) -> float | None:
        """Share of the peak of all GPUs; `units` as Split.length counts them."""
        if not self.flops_per_unit or not self.peak_flops:
            return None
        return units * self.flops_per_unit / seconds / (self.peak_flops * gpus)


def tokens_per_unit(shape: estimate.ModelShape) -> int:
    """What one unit of Split.length is: a token, or an image or sound that makes so many."""
    return shape.tokens if shape.kind in ("vision", "audio") and shape.tokens else 1


def _flops_per_unit(model: Any, data: Dataset) -> float | None:
    try:
        shape = estimate.shape_from_config(model.config.to_dict())
    except estimate.EstimateError:
        return None
    each = tokens_per_unit(shape)
    mean_length = int(data.train.mean_length() * each)
    training = estimate.Training(strategy=STRATEGY, max_seq_len=max(mean_length, 1))
    return estimate.flops_per_token(shape, training) * each


def _peak_flops(precision: Precision) -> float | None:
    try:
        gpu = estimate.find_gpu(torch.cuda.get_device_name(precision.device))
    except estimate.EstimateError:
        return None
    return peak_flops(gpu, precision.name) or None
