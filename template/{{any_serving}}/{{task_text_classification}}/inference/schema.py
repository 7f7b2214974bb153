"""What the service takes and gives for this task: a text in, its label out."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

# The length also makes pydantic refuse text with lone surrogates, which no tokenizer takes.
Input = Annotated[str, Field(min_length=1)]


class Options(BaseModel):
    """None yet."""

    model_config = ConfigDict(extra="forbid")


class Output(BaseModel):
    """The likeliest label, its probability, and those of all labels."""

    label: str
    score: float
    scores: dict[str, float]


EXAMPLE_INPUTS: list[Any] = [
    "I was charged twice for order 52017.",
    "The app crashes when I open the checkout page.",
]
EXAMPLE_OPTIONS: dict[str, Any] = {}
EXAMPLE_OUTPUTS: list[Any] = [
    {"label": "billing", "score": 0.97, "scores": {"billing": 0.97, "technical": 0.03}},
    {"label": "technical", "score": 0.88, "scores": {"billing": 0.12, "technical": 0.88}},
]
WARM_UP_OPTIONS: dict[str, Any] = {}


def characters(item: str) -> int:
    """Length of one input."""
    return len(item)
