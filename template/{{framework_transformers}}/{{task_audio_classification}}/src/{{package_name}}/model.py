"""The audio classifier: how it is built."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from transformers import AutoConfig, AutoModelForAudioClassification

from . import classifier
from .classifier import check, class_names, new_modules, predictions
from .config import SCRATCH, Config
from .data import Dataset
from .pretrained import load_base

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = [
    "AUTO_CLASS",
    "build_model",
    "check",
    "loss_and_logits",
    "new_modules",
    "predictions",
]

AUTO_CLASS = AutoModelForAudioClassification

# PyTorch says it of the masks of WavLM; nothing a user could change
warnings.filterwarnings("ignore", message="Support for mismatched key_padding_mask")


def build_model(
    config: Config, processor: Any, data: Dataset, dtype: torch.dtype
) -> PreTrainedModel:
    """A pretrained audio model with a new head, or for `scratch` a small AST."""
    if config.model.name_or_path == SCRATCH:
        size = config.model.scratch
        model_config = AutoConfig.for_model(
            **size.architecture(config.train.max_seq_len, config.data),
            problem_type="single_label_classification",
            initializer_range=size.hidden_size**-0.5,  # 0.02, the usual, is for wide models
            **class_names(data),
        )
        model = AutoModelForAudioClassification.from_config(model_config, dtype=dtype)
        embeddings = model.audio_spectrogram_transformer.embeddings
        for parameter in embeddings.parameters(recurse=False):
            # they start at zero, for which the first layer norm has gradients of thousands
            torch.nn.init.normal_(parameter, std=0.02)
        return model
    model = load_base(
        AutoModelForAudioClassification,
        config.model,
        dtype,
        ignore_mismatched_sizes=True,  # a checkpoint with another number of classes
        **class_names(data),
    )
    if hasattr(model.config, "layerdrop"):
        # whole layers left out at random: several GPUs would wait for each other's gradients
        model.config.layerdrop = 0.0
    if config.train.freeze_feature_encoder and hasattr(model, "freeze_feature_encoder"):
        model.freeze_feature_encoder()
    return model


def loss_and_logits(
    model: Any, batch: dict[str, torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Sum of the cross-entropy over the batch (nats), and the logits (B, classes)."""
    if model.training:
        # wav2vec2 and its like mask with NumPy's numbers; PyTorch's are seeded for each step
        np.random.seed(int(torch.randint(2**31, ())))
    return classifier.loss_and_logits(model, batch)
