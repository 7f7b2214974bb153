"""The model that reads images and text and writes text: how it is built, and its loss."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from transformers import AutoModelForImageTextToText, LlavaConfig

from .config import SCRATCH, Config
from .data import Dataset
from .generation import next_token_loss, predictions, refuse_missing, stop_where_answers_end
from .pretrained import load_base
from .processor import check_limits

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

AUTO_CLASS = AutoModelForImageTextToText
# what architectures call their image encoder
VISION_NAMES = ("vision_tower", "vision_model", "vision_encoder", "visual")


def build_model(
    config: Config, processor: Any, data: Dataset, dtype: torch.dtype
) -> PreTrainedModel:
    """Pretrained weights, or for `scratch` a small LLaVA with random ones."""
    if config.model.name_or_path == SCRATCH:
        model = AutoModelForImageTextToText.from_config(_small(config, processor), dtype=dtype)
    else:
        model = load_base(AutoModelForImageTextToText, config.model, dtype)
        refuse_missing(model, config.model.name_or_path)
        if not config.train.train_vision:
            for name, module in model.named_modules():
                if name.rpartition(".")[2] in VISION_NAMES:
                    module.requires_grad_(False)
    stop_where_answers_end(model, processor)
    check_limits(model, processor, config.train.max_seq_len)
    return model


def _small(config: Config, processor: Any) -> LlavaConfig:
    architecture = config.model.scratch.architecture(config.train.max_seq_len, config.data)
    tokenizer = processor.tokenizer
    architecture["text_config"] |= {
        "vocab_size": len(tokenizer),
        "bos_token_id": None,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    return LlavaConfig(**architecture, image_token_index=processor.image_token_id)


def new_modules(model: Any) -> list[str]:
    """Names of freshly initialised modules: there are none."""
    return []


def loss_and_logits(
    model: Any, batch: dict[str, torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Sum of the cross-entropy over the batch's targets (nats), and the logits (B, L, V).

    The caller divides by the number of targets in the whole global batch, so that the
    gradient is the same however the batch is cut into micro-batches.
    """
    inputs = {name: values for name, values in batch.items() if name != "labels"}
    logits_BLV = model(**inputs, use_cache=False).logits
    return next_token_loss(logits_BLV, batch["labels"]), logits_BLV


def check(model: Any, config: Config, device: torch.device) -> None:
    """Nothing beside the configuration can be wrong with such a model."""
