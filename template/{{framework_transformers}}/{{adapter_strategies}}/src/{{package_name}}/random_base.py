"""A base model with random weights, for a try without a network: adapters need one."""

from __future__ import annotations

from pathlib import Path

import torch

from .config import SCRATCH, Config
from .data import load
from .model import build_model
from .pretrained import save_trained
from .processor import get_processor


def write_random_base(config: Config, path: Path, dtype: torch.dtype) -> None:
    """Write what `model.scratch` describes to the folder `path`, in the hub's layout."""
    model = config.model.model_copy(update={"name_or_path": SCRATCH})
    scratch = config.model_copy(update={"model": model})
    processor = get_processor(scratch)
    torch.manual_seed(config.train.seed)
    base = build_model(scratch, processor, load(scratch, processor), dtype)
    save_trained(base, processor, path)
