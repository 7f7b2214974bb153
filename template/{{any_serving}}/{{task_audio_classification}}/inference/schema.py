"""What the service takes for this task, a recording, with examples."""

from __future__ import annotations

import base64
import io
import math
import wave
from typing import Annotated, Any

from pydantic import Field

# The file in base64 or as a data URL; what it holds is checked by the predictor.
Input = Annotated[str, Field(min_length=1)]


def _tone(hertz: int) -> str:
    """A WAV file of 8 milliseconds, in base64."""
    samples = (math.sin(2 * math.pi * hertz * n / 8000) for n in range(64))
    file = io.BytesIO()
    with wave.open(file, "wb") as wav:
        wav.setparams((1, 1, 8000, 0, "NONE", "not compressed"))
        wav.writeframes(bytes(round(128 + 100 * sample) for sample in samples))
    return base64.b64encode(file.getvalue()).decode()


EXAMPLE_INPUTS: list[Any] = [_tone(220), f"data:audio/wav;base64,{_tone(1760)}"]
EXAMPLE_OUTPUTS: list[Any] = [
    {"label": "low", "score": 0.97, "scores": {"low": 0.97, "high": 0.03}},
    {"label": "high", "score": 0.88, "scores": {"low": 0.12, "high": 0.88}},
]


def characters(item: str) -> int:
    """Length of one input, in base64: four characters for three bytes."""
    return len(item)
