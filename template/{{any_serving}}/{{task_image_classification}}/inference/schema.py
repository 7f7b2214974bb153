"""What the service takes for this task, an image, with examples."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

# The file in base64 or as a data URL; what it holds is checked by the predictor.
Input = Annotated[str, Field(min_length=1)]

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
EXAMPLE_OUTPUTS: list[Any] = [
    {"label": "1", "score": 0.97, "scores": {"1": 0.97, "7": 0.03}},
    {"label": "7", "score": 0.88, "scores": {"1": 0.12, "7": 0.88}},
]


def characters(item: str) -> int:
    """Length of one input, in base64: four characters for three bytes."""
    return len(item)
