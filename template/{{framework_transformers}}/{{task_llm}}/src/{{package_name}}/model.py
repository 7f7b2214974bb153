"""The language model: how it is built, and its loss."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from .chunked_loss import check_head, chunked_loss
from .config import SCRATCH, Config
from .data import Dataset
from .errors import UserError
from .generation import next_token_loss, predictions, refuse_missing, stop_where_answers_end
from .pretrained import load_base
from .processor import check_limits

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

AUTO_CLASS = AutoModelForCausalLM
LEAK_TOLERANCE = 1e-3


def build_model(
    config: Config, tokenizer: PreTrainedTokenizerBase, data: Dataset, dtype: torch.dtype
) -> PreTrainedModel:
    """Pretrained weights, or for `scratch` a small Llama with random ones."""
    if config.model.name_or_path == SCRATCH:
        model_config = AutoConfig.for_model(
            **config.model.scratch.architecture(config.train.max_seq_len, config.data)
            | {
                "vocab_size": len(tokenizer),
                "bos_token_id": None,
                "eos_token_id": tokenizer.eos_token_id,
                "pad_token_id": tokenizer.pad_token_id,
            }
        )
        model = AutoModelForCausalLM.from_config(model_config, dtype=dtype)
    else:
        model = load_base(AutoModelForCausalLM, config.model, dtype)
        refuse_missing(model, config.model.name_or_path)
    model.has_chunked_loss = config.train.loss_head == "chunked"
    stop_where_answers_end(model, tokenizer)
    check_limits(model, tokenizer, config.train.max_seq_len)
    return model


def new_modules(model: Any) -> list[str]:
    """Names of freshly initialised modules: a language model has none."""
    return []


def loss_and_logits(
    model: Any, batch: dict[str, torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Sum of the cross-entropy over the batch's targets (nats), and the logits (B, L, V).

    The caller divides by the number of targets in the whole global batch, so that the
    gradient is the same however the batch is cut into micro-batches. With train.loss_head
    chunked, the likeliest tokens (B, L) take the logits' place.
    """
    inputs = {name: batch[name] for name in ("input_ids", "position_ids")}
    if getattr(model, "has_chunked_loss", False):
        return chunked_loss(model, inputs, batch["labels"])
    logits_BLV = model(**inputs, use_cache=False).logits
    return next_token_loss(logits_BLV, batch["labels"]), logits_BLV


@torch.no_grad()
def check(model: Any, config: Config, device: torch.device) -> None:
    """Raise UserError for a model that cannot be trained in the configured way."""
    was_training = model.training
    model.eval()
    vocabulary = model.get_input_embeddings().num_embeddings
    probe = torch.arange(2 * 8, device=device).mul(7).remainder(vocabulary)
    if config.train.packing:
        _check_packing(model, probe)
    if config.train.loss_head == "chunked":
        check_head(model, {"input_ids": probe[None]})
    model.train(was_training)


def _check_packing(model: Any, probe: torch.Tensor) -> None:
    """Refuse packing for a model whose attention crosses from one document to the next.

    Compares the second of two packed documents with the same document alone.
    """
    first, second = probe.split(8)
    positions = torch.arange(8, device=probe.device)
    # two rows, as in training: some attention kernels see the borders only in a batch of one
    packed = model(
        input_ids=torch.cat([first, second]).expand(2, -1),
        position_ids=torch.cat([positions, positions]).expand(2, -1),
        use_cache=False,
    ).logits[0, 8:]
    alone = model(input_ids=second[None], position_ids=positions[None], use_cache=False).logits[0]
    scale = alone.float().abs().max().clamp(min=1.0)
    tolerance = LEAK_TOLERANCE if alone.dtype == torch.float32 else 0.05
    if ((packed.float() - alone.float()).abs().max() / scale).item() > tolerance:
        raise UserError(
            "train.packing: this model's attention crosses document borders, so packing would "
            "mix rows; set train.packing to false"
        )
