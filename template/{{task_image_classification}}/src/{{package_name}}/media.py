"""Images: how a file is read, varied in training, and made the model's input."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from .config import Config
from .images import KIND, SUFFIXES, decode_image, describe, open_image

__all__ = [
    "KIND",
    "PROBES",
    "SUFFIXES",
    "TASK",
    "Batch",
    "augment",
    "check",
    "decode",
    "describe",
    "fit_note",
    "to_inputs",
]

TASK = "image_classification"
ASPECT_RATIOS = (3 / 4, 4 / 3)  # of random crops
GROUP_BYTES = 2**22  # of pixels that are scaled together

Batch = dict[str, np.ndarray]


def check(file: BinaryIO, max_pixels: float | None = None) -> float:
    """Read the header; 0, as no image is too long. Raises ValueError saying what is wrong."""
    open_image(file, max_pixels)
    return 0.0


def fit_note(seconds: Sequence[float], processor: Any) -> str:
    """Nothing is told of images: all of each is seen."""
    return ""


def decode(file: BinaryIO, processor: Any) -> np.ndarray:
    """The image upright, as RGB: (H, W, 3), uint8. Raises ValueError for a damaged file."""
    return decode_image(file)


def augment(
    sample: np.ndarray, rng: np.random.Generator, processor: Any, config: Config
) -> np.ndarray:
    """A random part of the image, at random mirrored: (h, w, 3), uint8.

    The model's processor then scales it as it scales whole images in evaluation.
    """
    options = config.train
    share, log_ratio, left, top, mirror = rng.random(5)
    if options.crop_min_area < 1:
        low, high = (math.log(ratio) for ratio in ASPECT_RATIOS)
        ratio = math.exp(low + (high - low) * log_ratio)
        height, width = sample.shape[:2]
        area = height * width * (options.crop_min_area + (1 - options.crop_min_area) * share)
        w = min(width, max(1, round(math.sqrt(area * ratio))))
        h = min(height, max(1, round(math.sqrt(area / ratio))))
        x, y = int(left * (width - w + 1)), int(top * (height - h + 1))
        sample = sample[y : y + h, x : x + w]
    return sample[:, ::-1] if options.horizontal_flip and mirror < 0.5 else sample


def to_inputs(samples: Iterable[np.ndarray], processor: Any) -> Batch:
    """`pixel_values` (B, 3, H, W), float32: scaled, cropped and normalised by the processor.

    Raises ValueError for a processor that does not bring images to one size.
    """
    pixels = [processor(group, return_tensors="np")["pixel_values"] for group in _groups(samples)]
    return {"pixel_values": np.concatenate(pixels).astype(np.float32, copy=False)}


def _groups(samples: Iterable[np.ndarray]) -> Iterator[list[Image.Image]]:
    """Images that the processor gets at once: a call costs as much as a small image.

    Few large ones, or whole photographs of a batch would fill the memory.
    """
    group: list[Image.Image] = []
    size = 0
    for sample in samples:
        group.append(Image.fromarray(np.ascontiguousarray(sample)))
        size += sample.nbytes
        if size >= GROUP_BYTES:
            yield group
            group, size = [], 0
    if group:
        yield group


def _probe(height: int, width: int, seed: int) -> bytes:
    noise = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).resize((width, height)).save(file, "PNG")
    return file.getvalue()


# what the smoke test and the export compare two copies of a model on
PROBES = [_probe(48, 48, seed=1), _probe(60, 40, seed=2)]
