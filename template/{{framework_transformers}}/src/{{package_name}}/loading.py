"""A trained model, ready to predict; and whose weights a folder has, without loading them."""

from __future__ import annotations

from pathlib import Path

import torch

from .checkpoints import check_model
from .identity import identity
from .predictor import Predictor


def load_predictor(path: Path, device: str = "auto", threads: int = 0) -> Predictor:
    """Load what training or export wrote; 0 threads leave their number to PyTorch.

    Raises UserError where it is not such a folder.
    """
    if threads:
        torch.set_num_threads(threads)
    return Predictor.load(path, device)


def digest(path: Path) -> str:
    """Hash of the weights in a folder, as its predictor would have it. Raises UserError."""
    check_model(path)
    return identity(path)[2]
