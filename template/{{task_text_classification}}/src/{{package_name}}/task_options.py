"""The configuration keys that only a text-classification project has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import PositiveInt

from .settings import Section
from .small_model import SmallTransformer

# the kinds of models that the task trains, as the estimate calls them; the first is the usual one
MODEL_KINDS = ("encoder", "decoder")


class ScratchOptions(SmallTransformer):
    """A small encoder with random weights and a tokenizer made from the training data."""

    vocab_size: PositiveInt = 4096
    """Size of the byte-level BPE vocabulary learnt from the training data."""

    def architecture(self, max_seq_len: int, data: TaskDataOptions) -> dict[str, Any]:
        """The model's config.json, a ModernBERT's, but for what its tokenizer decides."""
        return {
            **self.transformer("modernbert", widening=2),
            "vocab_size": self.vocab_size,
            "max_position_embeddings": max_seq_len,
        }


class TaskDataOptions(Section):
    """Keys of the section `data`."""

    cache_dir: Path = Path("data/cache")
    """Where tokens are kept for the next run; the folder may be deleted at any time."""
    text_column: str = "text"
    """Column that holds the text."""
    label_column: str = "label"
    """Column that holds the class name."""


class TaskTrainOptions(Section):
    """Keys of the section `train`."""
