"""The configuration keys that only a project for images and text has."""

from __future__ import annotations

from typing import Self

from pydantic import PositiveInt, model_validator

from .settings import Section


class ScratchOptions(Section):
    """A small decoder and image encoder with random weights; a tokenizer made from the data."""

    hidden_size: PositiveInt = 128
    """Width of both; a multiple of num_heads."""
    num_layers: PositiveInt = 3
    """Transformer blocks of each."""
    num_heads: PositiveInt = 4
    """Attention heads."""
    vocab_size: PositiveInt = 1024
    """Size of the byte-level BPE vocabulary learnt from the training data."""
    image_size: PositiveInt = 32
    """Images are scaled to this many pixels a side; a multiple of patch_size."""
    patch_size: PositiveInt = 8
    """Pixels a side of what becomes one token."""

    @model_validator(mode="after")
    def _sizes_agree(self) -> Self:
        for name, of in (("hidden_size", "num_heads"), ("image_size", "patch_size")):
            whole, part = getattr(self, name), getattr(self, of)
            if whole % part:
                nearest = max(1, round(whole / part)) * part
                raise ValueError(
                    f"model.scratch.{name} ({whole}) must be a multiple of "
                    f"model.scratch.{of} ({part}); the nearest is {nearest}"
                )
        return self


class TaskDataOptions(Section):
    """Keys of the section `data`."""

    image_column: str = "image"
    """Column that holds the image of a row, or a list of them."""


class TaskTrainOptions(Section):
    """Keys of the section `train`."""

    train_vision: bool = False
    """Also train a pretrained image encoder; adapters go where model.lora.target_modules says."""
