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

__all__ = ["DECODES", "PROBES", "Input", "collate", "encode", "length", "prepare", "read_input"]

# Text is base64 or a data URL and never a path: it may come from anybody who can reach the service.
Input = str | bytes | Path
# reading is work, which leaves the interpreter to other threads
DECODES = True

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Item:
    """A checked input and its number, for messages."""

    content: bytes
    number: int


def read_input(item: Input, number: int, limit: float | None = None) -> Item:
    """Check one input by its header; `number` names it in messages. Raises UserError.

    `limit`: pixels of an image or seconds of sound, at most.
    """
    try:
        content = _content(item)
        media.check(io.BytesIO(content), limit)
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


def length(item: Any) -> int:
    """What decides how much padding it needs: bytes tell nothing of it, so all are alike."""
    return 1


def encode(items: Sequence[Item], processor: Any) -> dict[str, torch.Tensor]:
    """The model's inputs, as in training but without variation. Raises UserError."""
    inputs = media.to_inputs((_decoded(item, processor) for item in items), processor)
    return {name: torch.from_numpy(values) for name, values in inputs.items()}


def prepare(item: Item, processor: Any) -> Arrays:
    """The model's inputs for one, each (1, ...): no larger, however large the file's were."""
    return media.to_inputs([_decoded(item, processor)], processor)


def collate(reads: Sequence[Arrays], processor: Any) -> dict[str, torch.Tensor]:
    """One batch of what `prepare` gave."""
    return {
        name: torch.from_numpy(np.concatenate([read[name] for read in reads])) for name in reads[0]
    }


def _decoded(item: Item, processor: Any) -> np.ndarray:
    try:
        return media.decode(io.BytesIO(item.content), processor)
    except (OSError, ValueError) as error:
        raise UserError(f"input {item.number} {reason(error)}") from None
