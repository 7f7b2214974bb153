"""What the service takes and gives for this task: a recording in, its label out."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

# The file in base64 or as a data URL; what it holds is checked by the predictor.
Input = Annotated[str, Field(min_length=1)]


class Options(BaseModel):
    """None yet."""

    model_config = ConfigDict(extra="forbid")


class Output(BaseModel):
    """The likeliest label, its probability, and those of all labels."""

    label: str
    score: float
    scores: dict[str, float]


# two tones of 8 milliseconds, as WAV files
EXAMPLE_INPUTS: list[Any] = [
    (
        "UklGRmQAAABXQVZFZm10IBAAAAABAAEAQB8AAEAfAAABAAgAZGF0YUAAAACAlai3vr+4qpeCbFhJQUBGVGZ7kaW0"
        "vb+5rZuGcFxMQkBFUWJ3jaKyvL+7sJ6KdF9OQ0BDTl90ip6wu7+8sqKN"
    ),
    (
        "data:audio/wav;base64,UklGRmQAAABXQVZFZm10IBAAAAABAAEAQB8AAEAfAAABAAgAZGF0YUAAAACAv5NGWq"
        "2zYkOKwIpDYrOtWkaTv4BAbLmlUkydvHVAdbydTFKluWxAgL+TRlqts2JDisCKQ2KzrVpGk7+AQGy5"
    ),
]
EXAMPLE_OPTIONS: dict[str, Any] = {}
EXAMPLE_OUTPUTS: list[Any] = [
    {"label": "low", "score": 0.97, "scores": {"low": 0.97, "high": 0.03}},
    {"label": "high", "score": 0.88, "scores": {"low": 0.12, "high": 0.88}},
]
WARM_UP_OPTIONS: dict[str, Any] = {}


def characters(item: str) -> int:
    """Length of one input, in base64: four characters for three bytes."""
    return len(item)
