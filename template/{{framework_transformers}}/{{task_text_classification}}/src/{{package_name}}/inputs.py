"""From what a user sends to what the model takes, for prediction: texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from .errors import UserError

Input = str
# reading a text is nothing that threads would help with
DECODES = False

# what the smoke test and the export compare two copies of a model on
PROBES = ["A short text.", "Another one, somewhat longer than the first, with 2 numbers: 17 and 4."]


def read_input(item: Input, number: int, limit: float | None = None) -> str:
    """Check one input; `number` names it in messages. Raises UserError."""
    if not isinstance(item, str) or not item.strip():
        raise UserError(f"input {number} is empty or no text")
    return item


def length(item: str) -> int:
    """What decides how much padding it needs: characters."""
    return len(item)


def encode(items: Sequence[str], processor: Any) -> dict[str, torch.Tensor]:
    """The model's inputs: `input_ids` and `attention_mask`, both (B, L)."""
    encoded = processor(list(items), padding=True, truncation=True, return_tensors="pt")
    return {name: encoded[name] for name in ("input_ids", "attention_mask")}


def prepare(item: str, processor: Any) -> str:
    """Nothing: the tokenizer is fastest with a whole batch."""
    return item


collate = encode
