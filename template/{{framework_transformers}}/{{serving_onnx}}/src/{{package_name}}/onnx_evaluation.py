"""Evaluation of an ONNX export: the same rows and numbers as for the model it was made from."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig

from . import evaluation
from .config import Config
from .onnx_predictor import OnnxPredictor, is_onnx, run_session
from .optimization import pick_precision
from .pretrained import CPU, load


class OnnxModel(nn.Module):
    """A session in the place of the model that it was exported from."""

    def __init__(self, session: Any, model_config: Any) -> None:
        super().__init__()
        self.session, self.config = session, model_config

    def forward(self, **inputs: torch.Tensor) -> SimpleNamespace:
        """Scores before the softmax, (B, classes), in `logits`."""
        return SimpleNamespace(logits=run_session(self.session, inputs))


def evaluate_folder(config: Config, folder: Path) -> dict[str, Any]:
    """Like `evaluation.evaluate_folder`, of an ONNX export too: the file that it serves.

    Its numbers are written to evaluation-<folder>.json, beside those of the run's model.
    """
    if not is_onnx(folder):
        return evaluation.evaluate_folder(config, folder)
    predictor = OnnxPredictor.load(folder)
    model = OnnxModel(predictor.session, load(AutoConfig, str(folder)))
    file = f"evaluation-{folder.name}.json"
    precision = pick_precision("fp32", CPU)
    return evaluation.evaluate_loaded(config, model, predictor.processor, precision, folder, file)
