"""The configuration keys that only a language-model project has."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import PositiveInt

from .settings import Section
from .small_model import SmallTransformer

# the kinds of models that the task trains, as the estimate calls them; the first is the usual one
MODEL_KINDS = ("decoder",)


class ScratchOptions(SmallTransformer):
    """A small decoder with random weights and a tokenizer made from the training data."""

    hidden_size: PositiveInt = 256
    """Width; a multiple of num_heads."""
    num_layers: PositiveInt = 4
    """Transformer blocks."""
    vocab_size: PositiveInt = 4096
    """Size of the byte-level BPE vocabulary learnt from the training data."""

    def architecture(self, max_seq_len: int, data: TaskDataOptions) -> dict[str, Any]:
        """The model's config.json, a Llama's, but for what its tokenizer decides."""
        return {
            **self.transformer("llama", widening=8 / 3),
            "num_key_value_heads": self.num_heads,
            "vocab_size": self.vocab_size,
            "max_position_embeddings": max_seq_len,
            "tie_word_embeddings": True,
        }


class TaskDataOptions(Section):
    """Keys of the section `data`."""

    cache_dir: Path = Path("data/cache")
    """Where tokens are kept for the next run; the folder may be deleted at any time."""


class TaskTrainOptions(Section):
    """Keys of the section `train`."""

    packing: bool = True
    """Put several short rows into one sequence; attention never crosses from one to the next."""
    train_on_prompts: bool = False
    """Also learn the prompts; by default only the answers count in the loss."""
    loss_head: Literal["full", "chunked"] = "full"
    """chunked: logits a few tokens at a time; same loss, less memory with large vocabularies."""
