"""What the service takes for this task, a text, with examples."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

# The length also makes pydantic refuse text with lone surrogates, which no tokenizer takes.
Input = Annotated[str, Field(min_length=1)]

EXAMPLE_INPUTS: list[Any] = [
    "I was charged twice for order 52017.",
    "The app crashes when I open the checkout page.",
]
EXAMPLE_OUTPUTS: list[Any] = [
    {"label": "billing", "score": 0.97, "scores": {"billing": 0.97, "technical": 0.03}},
    {"label": "technical", "score": 0.88, "scores": {"billing": 0.12, "technical": 0.88}},
]


def characters(item: str) -> int:
    """Length of one input."""
    return len(item)
