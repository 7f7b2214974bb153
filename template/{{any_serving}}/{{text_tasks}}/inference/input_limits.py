"""How large one input may be."""

from __future__ import annotations

from pydantic import PositiveInt

from .project import Section


class InputLimits(Section):
    """Texts."""

    max_input_characters: PositiveInt = 20_000
    """Characters of one input."""

    @property
    def of_media(self) -> None:
        """Nothing is measured but characters."""
