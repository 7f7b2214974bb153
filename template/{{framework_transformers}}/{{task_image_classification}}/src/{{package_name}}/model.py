"""The image classifier: how it is built."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from transformers import AutoConfig, AutoModelForImageClassification

from .classifier import check, class_names, loss_and_logits, new_modules, predictions
from .config import SCRATCH, Config
from .data import Dataset
from .errors import ConfigError
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

AUTO_CLASS = AutoModelForImageClassification


def build_model(
    config: Config, processor: Any, data: Dataset, dtype: torch.dtype
) -> PreTrainedModel:
    """A pretrained image model with a new head, or for `scratch` a small ViT."""
    if config.model.name_or_path == SCRATCH:
        size = config.model.scratch
        model_config = AutoConfig.for_model(
            **size.architecture(config.train.max_seq_len, config.data),
            # by its width: with the library's 0.02, which suits large ones, small ones learn late
            initializer_range=size.hidden_size**-0.5,
            problem_type="single_label_classification",
            **class_names(data),
        )
        return AutoModelForImageClassification.from_config(model_config, dtype=dtype)
    model = load_base(
        AutoModelForImageClassification,
        config.model,
        dtype,
        ignore_mismatched_sizes=True,  # a checkpoint with another number of classes
        **class_names(data),
    )
    if config.train.activation_checkpointing and not model.supports_gradient_checkpointing:
        raise ConfigError(
            f"train.activation_checkpointing: {type(model).__name__} cannot; set it to false, and "
            "train.micro_batch_size lower where memory is short"
        )
    _try_one(model, data, dtype)
    return model


@torch.no_grad()
def _try_one(model: Any, data: Dataset, dtype: torch.dtype) -> None:
    """Refuse a model that cannot take what its processor makes: another size, or more than it."""
    pixels = torch.from_numpy(data.batch(data.train, [0])["pixel_values"])
    try:
        model(pixel_values=pixels.to(model.device, dtype))
    except (ValueError, TypeError, AttributeError, RuntimeError) as error:
        raise ConfigError(
            f"model.name_or_path: {type(model).__name__} cannot take what its own image processor "
            f"makes ({error}); name another model"
        ) from None
