"""The classifier: how it is built, and its loss."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from transformers import AutoModelForSequenceClassification, ModernBertConfig

from .config import SCRATCH, Config
from .data import Dataset
from .pretrained import check_limits, load

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

AUTO_CLASS = AutoModelForSequenceClassification
# heads that a pretrained encoder does not have; adapters train them whole
HEAD_NAMES = ("classifier", "score", "pre_classifier", "classification_head", "head")


def build_model(
    config: Config, tokenizer: PreTrainedTokenizerBase, data: Dataset, dtype: torch.dtype
) -> PreTrainedModel:
    """A pretrained encoder with a new head, or for `scratch` a small ModernBERT."""
    classes: dict[str, Any] = {
        "num_labels": len(data.labels),
        "id2label": dict(enumerate(data.labels)),
        "label2id": {label: i for i, label in enumerate(data.labels)},
    }
    if config.model.name_or_path == SCRATCH:
        size = config.model.scratch
        model_config = ModernBertConfig(
            vocab_size=len(tokenizer),
            hidden_size=size.hidden_size,
            intermediate_size=size.hidden_size * 2,
            num_hidden_layers=size.num_layers,
            num_attention_heads=size.num_heads,
            max_position_embeddings=config.train.max_seq_len,
            classifier_pooling="mean",
            pad_token_id=tokenizer.pad_token_id,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            cls_token_id=None,
            sep_token_id=None,
            problem_type="single_label_classification",
            **classes,
        )
        model = AutoModelForSequenceClassification.from_config(model_config, dtype=dtype)
    else:
        model = load(
            AutoModelForSequenceClassification,
            config.model.name_or_path,
            revision=config.model.revision,
            dtype=dtype,
            ignore_mismatched_sizes=True,  # a checkpoint with another number of classes
            **classes,
        )
    if model.config.pad_token_id is None:
        # decoders find the last token of a padded row by it
        model.config.pad_token_id = tokenizer.pad_token_id
    check_limits(model, tokenizer, config.train.max_seq_len)
    return model


def new_modules(model: Any) -> list[str]:
    """Names of the freshly initialised modules, trained whole beside adapters."""
    return [name for name, _ in model.named_children() if name in HEAD_NAMES]


def loss_and_logits(
    model: Any, batch: dict[str, torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Sum of the cross-entropy over the batch (nats), and the logits (B, classes).

    The caller divides by the number of samples in the whole global batch, so that the
    gradient is the same however the batch is cut into micro-batches.
    """
    logits_BC = model(
        input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]
    ).logits.float()
    loss = F.cross_entropy(logits_BC, batch["labels"], reduction="sum")
    return loss, logits_BC


def predictions(logits_BC: torch.Tensor) -> torch.Tensor:
    """The likeliest class ids, (B,)."""
    return logits_BC.argmax(dim=-1)


def check(model: Any, config: Config, device: torch.device) -> None:
    """Nothing beside the configuration can be wrong with a classifier."""
