"""The text classifier: how it is built."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from transformers import AutoConfig, AutoModelForSequenceClassification

from .classifier import check, class_names, loss_and_logits, new_modules, predictions
from .config import SCRATCH, Config
from .data import Dataset
from .pretrained import load_base
from .processor import check_limits, max_positions

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

__all__ = [
    "AUTO_CLASS",
    "build_model",
    "check",
    "loss_and_logits",
    "new_modules",
    "predictions",
]

AUTO_CLASS = AutoModelForSequenceClassification


def build_model(
    config: Config, tokenizer: PreTrainedTokenizerBase, data: Dataset, dtype: torch.dtype
) -> PreTrainedModel:
    """A pretrained encoder with a new head, or for `scratch` a small ModernBERT."""
    if config.model.name_or_path == SCRATCH:
        model_config = AutoConfig.for_model(
            **config.model.scratch.architecture(config.train.max_seq_len, config.data)
            | {
                "vocab_size": len(tokenizer),
                "classifier_pooling": "mean",
                "pad_token_id": tokenizer.pad_token_id,
                "bos_token_id": None,
                "eos_token_id": tokenizer.eos_token_id,
                "cls_token_id": None,
                "sep_token_id": None,
                "problem_type": "single_label_classification",
                **class_names(data),
            }
        )
        model = AutoModelForSequenceClassification.from_config(model_config, dtype=dtype)
    else:
        model = load_base(
            AutoModelForSequenceClassification,
            config.model,
            dtype,
            ignore_mismatched_sizes=True,  # a checkpoint with another number of classes
            **class_names(data),
        )
    if model.config.pad_token_id is None:
        # decoders find the last token of a padded row by it
        model.config.pad_token_id = tokenizer.pad_token_id
    check_limits(model, tokenizer, config.train.max_seq_len)
    # saved with it: prediction cuts longer texts there
    tokenizer.model_max_length = min(
        tokenizer.model_max_length, max_positions(model) or tokenizer.model_max_length
    )
    return model
