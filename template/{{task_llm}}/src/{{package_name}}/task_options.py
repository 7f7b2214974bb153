"""The configuration keys that only a language-model project has."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import PositiveInt, model_validator

from .settings import Section


class ScratchOptions(Section):
    """A small decoder with random weights and a tokenizer made from the training data."""

    hidden_size: PositiveInt = 256
    """Width; a multiple of num_heads."""
    num_layers: PositiveInt = 4
    """Transformer blocks."""
    num_heads: PositiveInt = 4
    """Attention heads."""
    vocab_size: PositiveInt = 4096
    """Size of the byte-level BPE vocabulary learnt from the training data."""

    @model_validator(mode="after")
    def _heads_divide_width(self) -> Self:
        if self.hidden_size % self.num_heads:
            nearest = max(1, round(self.hidden_size / self.num_heads)) * self.num_heads
            raise ValueError(
                f"model.scratch.hidden_size ({self.hidden_size}) must be a multiple of "
                f"model.scratch.num_heads ({self.num_heads}); the nearest is {nearest}"
            )
        return self


class TaskDataOptions(Section):
    """Keys of the section `data`."""


class TaskTrainOptions(Section):
    """Keys of the section `train`."""

    packing: bool = True
    """Put several short rows into one sequence; attention never crosses from one to the next."""
    train_on_prompts: bool = False
    """Also learn the prompts; by default only the answers count in the loss."""
    loss_head: Literal["full", "chunked"] = "full"
    """chunked: logits a few tokens at a time; same loss, less memory with large vocabularies."""
