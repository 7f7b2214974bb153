"""Which parameters are trained: low-rank adapters beside frozen weights (Hu et al. 2021)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from .adapters import (
    AdapterOptions,
    attach,
    has_adapters,
    load_base_of,
    merged,
    num_parameters,
    save_weights,
)
from .adapters import add_adapters as wrap

if TYPE_CHECKING:
    import torch

    from .config import ModelConfig

__all__ = [
    "READ_AGAIN_TOLERANCE",
    "STRATEGY",
    "FinetuningOptions",
    "base_options",
    "in_fp32",
    "load_weights",
    "merged",
    "num_parameters",
    "save_weights",
    "wrap",
]

STRATEGY = "lora"
READ_AGAIN_TOLERANCE = 1e-4  # of scores, when a model is read again


class FinetuningOptions(AdapterOptions):
    """Keys of the section `model` that LoRA adds."""


def base_options(options: ModelConfig, dtype: torch.dtype, device: torch.device) -> dict[str, Any]:
    """How the model that is trained is loaded: in `dtype`."""
    return {"dtype": dtype}


def load_weights(
    auto_class: Any, path: Path, device: torch.device, dtype: torch.dtype, **options: Any
) -> Any:
    """Load adapters on top of their base model, or a folder into which they were merged."""
    from .pretrained import load_whole

    if not has_adapters(path):
        return load_whole(auto_class, path, dtype=dtype, **options)
    return attach(load_base_of(auto_class, path, dtype=dtype, **options), path)


def in_fp32(model: Any) -> Any:
    """The model, in place, with weights in fp32."""
    return model.float()
