"""The configuration keys that only a project for images and text has."""

from __future__ import annotations

from typing import Any

from pydantic import PositiveInt

from .settings import Section
from .small_model import SmallTransformer

# the kinds of models that the task trains, as the estimate calls them; the first is the usual one
MODEL_KINDS = ("vision_language",)


class ScratchOptions(SmallTransformer):
    """A small decoder and image encoder with random weights; a tokenizer made from the data."""

    MULTIPLES = (("hidden_size", "num_heads"), ("image_size", "patch_size"))

    hidden_size: PositiveInt = 128
    """Width of both; a multiple of num_heads."""
    num_layers: PositiveInt = 3
    """Transformer blocks of each."""
    vocab_size: PositiveInt = 1024
    """Size of the byte-level BPE vocabulary learnt from the training data."""
    image_size: PositiveInt = 32
    """Images are scaled to this many pixels a side; a multiple of patch_size."""
    patch_size: PositiveInt = 8
    """Pixels a side of what becomes one token."""

    def architecture(self, max_seq_len: int, data: TaskDataOptions) -> dict[str, Any]:
        """The model's config.json, a LLaVA's, but for what its tokenizer decides."""
        return {
            "model_type": "llava",
            "text_config": {
                **self.transformer("llama", widening=8 / 3),
                "num_key_value_heads": self.num_heads,
                "vocab_size": self.vocab_size,
                "max_position_embeddings": max_seq_len,
            },
            "vision_config": {
                **self.transformer("clip_vision_model", widening=2),
                "image_size": self.image_size,
                "patch_size": self.patch_size,
            },
            "image_seq_length": (self.image_size // self.patch_size) ** 2,
            "vision_feature_layer": -1,
            "vision_feature_select_strategy": "default",
        }


class TaskDataOptions(Section):
    """Keys of the section `data`."""

    image_column: str = "image"
    """Column that holds the image of a row, or a list of them."""


class TaskTrainOptions(Section):
    """Keys of the section `train`."""

    train_vision: bool = False
    """Also train a pretrained image encoder; adapters go where model.lora.target_modules says."""
