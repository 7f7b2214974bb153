"""The configuration keys that only an image-classification project has."""

from __future__ import annotations

from typing import Any

from pydantic import Field, PositiveInt

from .settings import Section
from .small_model import SmallTransformer

# the kinds of models that the task trains, as the estimate calls them; the first is the usual one
MODEL_KINDS = ("vision",)


class ScratchOptions(SmallTransformer):
    """A small vision transformer (ViT) with random weights."""

    MULTIPLES = (("hidden_size", "num_heads"), ("image_size", "patch_size"))

    num_layers: PositiveInt = 4
    """Transformer blocks."""
    image_size: PositiveInt = 32
    """Pixels of a side, to which every image is scaled; a multiple of patch_size."""
    patch_size: PositiveInt = 4
    """Pixels of a side of the patches that the model sees as tokens."""

    def architecture(self, max_seq_len: int, data: TaskDataOptions) -> dict[str, Any]:
        """The model's config.json, a ViT's, but for the classes."""
        return {
            **self.transformer("vit", widening=4),
            "image_size": self.image_size,
            "patch_size": self.patch_size,
        }


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
