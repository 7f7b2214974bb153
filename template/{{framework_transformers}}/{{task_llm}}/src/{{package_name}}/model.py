"""The language model: how it is built, and its loss."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from transformers import AutoModelForCausalLM, LlamaConfig

from .config import SCRATCH, Config
from .data import IGNORE, Dataset, end_of_turn
from .errors import UserError
from .pretrained import check_limits, load

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

AUTO_CLASS = AutoModelForCausalLM
LEAK_TOLERANCE = 1e-3


def build_model(
    config: Config, tokenizer: PreTrainedTokenizerBase, data: Dataset, dtype: torch.dtype
) -> PreTrainedModel:
    """Pretrained weights, or for `scratch` a small Llama with random ones."""
    if config.model.name_or_path == SCRATCH:
        size = config.model.scratch
        model_config = LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=size.hidden_size,
            intermediate_size=size.hidden_size * 8 // 3,
            num_hidden_layers=size.num_layers,
            num_attention_heads=size.num_heads,
            num_key_value_heads=size.num_heads,
            max_position_embeddings=config.train.max_seq_len,
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
        model = AutoModelForCausalLM.from_config(model_config, dtype=dtype)
    else:
        model = load(
            AutoModelForCausalLM,
            config.model.name_or_path,
            revision=config.model.revision,
            dtype=dtype,
        )
    _stop_where_answers_end(model, tokenizer)
    check_limits(model, tokenizer, config.train.max_seq_len)
    return model


def _stop_where_answers_end(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Add the end-of-turn token that is trained to the model's own stop tokens.

    They are saved with the model, so that it stops without this project's code too.
    """
    configured = model.generation_config.eos_token_id
    known = configured if isinstance(configured, list) else [configured]
    stops = {token for token in (*known, end_of_turn(tokenizer)) if token is not None}
    if stops:
        model.generation_config.eos_token_id = sorted(stops)


def new_modules(model: Any) -> list[str]:
    """Names of freshly initialised modules: a language model has none."""
    return []


def loss_and_logits(
    model: Any, batch: dict[str, torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Sum of the cross-entropy over the batch's targets (nats), and the logits (B, L, V).

    The caller divides by the number of targets in the whole global batch, so that the
    gradient is the same however the batch is cut into micro-batches.
    """
    logits_BLV = model(
        input_ids=batch["input_ids"], position_ids=batch["position_ids"], use_cache=False
    ).logits
    # the labels move, not the logits: those are the largest tensor of the step
    next_labels = F.pad(batch["labels"][:, 1:], (0, 1), value=IGNORE)
    loss = F.cross_entropy(
        logits_BLV.flatten(0, 1).float(),
        next_labels.flatten(),
        ignore_index=IGNORE,
        reduction="sum",
    )
    return loss, logits_BLV


def predictions(logits_BLV: torch.Tensor) -> torch.Tensor:
    """The likeliest token at each place, (B, L): entry t is guessed from those before t.

    Entry 0 is never a target.
    """
    return F.pad(logits_BLV[:, :-1].argmax(dim=-1), (1, 0), value=IGNORE)


@torch.no_grad()
def check(model: Any, config: Config, device: torch.device) -> None:
    """Refuse packing for a model whose attention crosses from one document to the next.

    Compares the second of two packed documents with the same document alone.
    """
    if not config.train.packing:
        return
    was_training = model.training
    model.eval()
    vocabulary = model.get_input_embeddings().num_embeddings
    first, second = torch.arange(2 * 8, device=device).mul(7).remainder(vocabulary).split(8)
    positions = torch.arange(8, device=device)
    # two rows, as in training: some attention kernels see the borders only in a batch of one
    packed = model(
        input_ids=torch.cat([first, second]).expand(2, -1),
        position_ids=torch.cat([positions, positions]).expand(2, -1),
        use_cache=False,
    ).logits[0, 8:]
    alone = model(input_ids=second[None], position_ids=positions[None], use_cache=False).logits[0]
    model.train(was_training)
    scale = alone.float().abs().max().clamp(min=1.0)
    tolerance = LEAK_TOLERANCE if alone.dtype == torch.float32 else 0.05
    if ((packed.float() - alone.float()).abs().max() / scale).item() > tolerance:
        raise UserError(
            "train.packing: this model's attention crosses document borders, so packing would "
            "mix rows; set train.packing to false"
        )
