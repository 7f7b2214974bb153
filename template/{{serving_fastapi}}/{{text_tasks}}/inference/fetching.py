"""Texts come with the request: nothing is fetched for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .input_limits import InputLimits

Limits = InputLimits
KINDS: tuple[str, ...] = ()  # of files that are inputs


async def resolve_inputs(inputs: Sequence[Any], limits: InputLimits, deadline: float) -> list[Any]:
    """A request's inputs as they are."""
    return list(inputs)
