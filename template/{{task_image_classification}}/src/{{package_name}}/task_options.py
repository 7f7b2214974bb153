"""The configuration keys that only an image-classification project has."""

from __future__ import annotations

from typing import Self

from pydantic import Field, PositiveInt, model_validator

from .settings import Section


class ScratchOptions(Section):
    """A small vision transformer (ViT) with random weights."""

    hidden_size: PositiveInt = 128
    """Width; a multiple of num_heads."""
    num_layers: PositiveInt = 4
    """Transformer blocks."""
    num_heads: PositiveInt = 4
    """Attention heads."""
    image_size: PositiveInt = 32
    """Pixels of a side, to which every image is scaled; a multiple of patch_size."""
    patch_size: PositiveInt = 4
    """Pixels of a side of the patches that the model sees as tokens."""

    @model_validator(mode="after")
    def _sizes_divide(self) -> Self:
        for size, part in (("hidden_size", "num_heads"), ("image_size", "patch_size")):
            whole, divisor = getattr(self, size), getattr(self, part)
            if whole % divisor:
                nearest = max(1, round(whole / divisor)) * divisor
                raise ValueError(
                    f"model.scratch.{size} ({whole}) must be a multiple of "
                    f"model.scratch.{part} ({divisor}); the nearest is {nearest}"
                )
        return self


class TaskDataOptions(Section):
    """Keys of the section `data`."""

    media_column: str = "image"
    """Column of a table that holds the image: a path, or its bytes."""
    label_column: str = "label"
    """Column of a table that holds the class name."""


class TaskTrainOptions(Section):
    """Keys of the section `train`."""

    crop_min_area: float = Field(default=0.5, gt=0.0, le=1.0)
    """Training sees a random part of each image, at least this share of its area; 1: all of it."""
    horizontal_flip: bool = True
    """Training sees half of the images mirrored; not where left and right matter, as in writing."""
