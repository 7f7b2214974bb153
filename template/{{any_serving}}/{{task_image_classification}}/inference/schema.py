"""What the service takes and gives for this task: an image in, its label out."""

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


# two digits of 8 by 8 pixels in black and white, as BMP files
EXAMPLE_INPUTS: list[Any] = [
    (
        "Qk1eAAAAAAAAAD4AAAAoAAAACAAAAAgAAAABAAEAAAAAACAAAADEDgAAxA4AAAIAAAACAAAAAAAAAP///wAcAAAA"
        "PAAAADgAAAA4AAAAOAAAADgAAAAgAAAAGAAAAA=="
    ),
    (
        "data:image/bmp;base64,Qk1eAAAAAAAAAD4AAAAoAAAACAAAAAgAAAABAAEAAAAAACAAAADEDgAAxA4AAAIAAA"
        "ACAAAAAAAAAP///wAwAAAAEAAAADwAAAA8AAAADAAAAAwAAAA8AAAAHAAAAA=="
    ),
]
EXAMPLE_OPTIONS: dict[str, Any] = {}
EXAMPLE_OUTPUTS: list[Any] = [
    {"label": "1", "score": 0.97, "scores": {"1": 0.97, "7": 0.03}},
    {"label": "7", "score": 0.88, "scores": {"1": 0.12, "7": 0.88}},
]
WARM_UP_OPTIONS: dict[str, Any] = {}


def characters(item: str) -> int:
    """Length of one input, in base64: four characters for three bytes."""
    return len(item)
