"""How large one input may be."""

from __future__ import annotations

from pydantic import Field, PositiveInt

from .project import Section


class InputLimits(Section):
    """Images."""

    max_input_characters: PositiveInt = 14_000_000
    """Characters of one input: a file of 10 MB in base64."""
    max_pixels: int = Field(default=25_000_000, gt=0, le=100_000_000)
    """Pixels of one image, read from its header: a small file may claim any size."""

    @property
    def of_media(self) -> float:
        """What the predictor is given to check against."""
        return self.max_pixels
