"""What turns images into the model's input: its size, crop and normalisation."""

from __future__ import annotations

from typing import Any

import transformers
from transformers import ViTImageProcessorPil

from .config import SCRATCH, Config
from .pretrained import load


class AutoImageProcessor:
    """The library's, by Pillow, so that pixels are the same with and without torchvision."""

    @staticmethod
    def from_pretrained(name_or_path: str, **options: Any) -> Any:
        """Load a model's processor."""
        return transformers.AutoImageProcessor.from_pretrained(
            name_or_path, backend="pil", **options
        )


PROCESSOR_CLASS = AutoImageProcessor


def get_processor(config: Config) -> Any:
    """The model's image processor; for `scratch` one that scales to its size."""
    model = config.model
    if model.name_or_path == SCRATCH:
        side = model.scratch.image_size
        return ViTImageProcessorPil(size={"height": side, "width": side})
    return load(PROCESSOR_CLASS, model.name_or_path, revision=model.revision)
