"""From what a user sends to what the model takes, for prediction: media files."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from . import media
from .errors import UserError
from .media import PROBES
from .media_files import from_base64, reason

__all__ = ["PROBES", "Input", "encode", "length", "read_input"]

# Text is base64 or a data URL and never a path: it may come from anybody who can reach the service.
Input = str | bytes | Path


@dataclass(frozen=True)
class Item:
    """A checked input and its number, for messages."""

    content: bytes
    number: int


def read_input(item: Input, number: int) -> Item:
    """Check one input; `number` names it in messages. Raises UserError."""
    try:
        content = _content(item)
        media.check(io.BytesIO(content))
    except (OSError, ValueError) as error:
        raise UserError(f"input {number} {reason(error)}") from None
    return Item(content, number)


def _content(item: Input) -> bytes:
    if isinstance(item, Path):
        return item.read_bytes()
    if isinstance(item, str):
        try:
            content = from_base64(item)
        except ValueError:
            raise ValueError("is neither base64 nor a data URL") from None
    else:
        content = item
    if not isinstance(content, bytes) or not content:
        raise ValueError(f"is empty or no {media.KIND} file")
    return content


def length(item: Item) -> int:
    """What decides how much padding it needs: bytes tell nothing of it, so all are alike."""
    return 1


def encode(items: Sequence[Item], processor: Any, model_config: Any) -> dict[str, torch.Tensor]:
    """The model's inputs, as in training but without variation. Raises UserError."""
    inputs = media.to_inputs((_decoded(item, processor) for item in items), processor)
    return {name: torch.from_numpy(values) for name, values in inputs.items()}


def _decoded(item: Item, processor: Any) -> np.ndarray:
    try:
        return media.decode(io.BytesIO(item.content), processor)
    except (OSError, ValueError) as error:
        raise UserError(f"input {item.number} {reason(error)}") from None
