"""How large one input may be."""

from __future__ import annotations

from pydantic import Field, PositiveInt

from .project import Section


class InputLimits(Section):
    """Recordings."""

    max_input_characters: PositiveInt = 14_000_000
    """Characters of one input: a file of 10 MB in base64."""
    max_audio_seconds: float = Field(default=120.0, gt=0, le=600)
    """Seconds of one recording, read from its header: a small file may claim any length."""

    @property
    def of_media(self) -> float:
        """What the predictor is given to check against."""
        return self.max_audio_seconds
