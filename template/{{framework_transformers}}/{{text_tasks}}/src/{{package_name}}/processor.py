"""What turns a row into the model's inputs: for text, a tokenizer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from transformers import AutoTokenizer

from .config import SCRATCH, Config
from .data import texts
from .errors import ConfigError
from .pretrained import load
from .vocabulary import make_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

PROCESSOR_CLASS = AutoTokenizer


def get_processor(config: Config) -> PreTrainedTokenizerBase:
    """The model's tokenizer; for `scratch` one made from the training data."""
    model = config.model
    if model.name_or_path == SCRATCH:
        tokenizer = make_tokenizer(
            texts(config), model.scratch.vocab_size, config.train.max_seq_len
        )
    else:
        tokenizer = load(AutoTokenizer, model.name_or_path, revision=model.revision)
    if tokenizer.pad_token_id is None:
        # padding never reaches the loss, so any token serves; eos stays trained (see data.py)
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def max_positions(model: PreTrainedModel) -> int | None:
    """The longest input in tokens; None where the model sets no limit."""
    positions: int | None = getattr(model.config, "max_position_embeddings", None)
    if not positions or positions < 0:
        return None
    for name, module in model.named_modules():
        if name.endswith("embeddings.position_embeddings"):
            # RoBERTa and its like count from the place after that of padding
            padding = getattr(module, "padding_idx", None)
            return positions if padding is None else positions - padding - 1
    return positions


def check_limits(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, length: int) -> None:
    """Refuse what the model has no embedding for: positions beyond its last, tokens it lacks."""
    positions = max_positions(model)
    if positions and length > positions:
        raise ConfigError(
            f"train.max_seq_len ({length}) is longer than the model's {positions} positions; "
            "lower it"
        )
    known = model.get_input_embeddings().num_embeddings
    if len(tokenizer) > known:
        raise ConfigError(
            f"model.name_or_path: the tokenizer has {len(tokenizer)} tokens and the model "
            f"{known}; the folder mixes two models, or its tokenizer lacks a token the model knows"
        )
