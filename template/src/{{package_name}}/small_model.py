"""The sizes of a small model with random weights, which `model.name_or_path: scratch` makes."""

from __future__ import annotations

from typing import Any, ClassVar, Self

from pydantic import PositiveInt, model_validator

from .settings import Section


class SmallTransformer(Section):
    """What every task's small model has; the task adds its own keys and the architecture."""

    MULTIPLES: ClassVar[tuple[tuple[str, str], ...]] = (("hidden_size", "num_heads"),)
    """Pairs of keys of which the first is a multiple of the second."""

    hidden_size: PositiveInt = 128
    """Width; a multiple of num_heads."""
    num_layers: PositiveInt = 2
    """Transformer blocks."""
    num_heads: PositiveInt = 4
    """Attention heads."""

    @model_validator(mode="after")
    def _sizes_divide(self) -> Self:
        for name, of in self.MULTIPLES:
            whole, part = getattr(self, name), getattr(self, of)
            if whole % part:
                nearest = max(1, round(whole / part)) * part
                raise ValueError(
                    f"model.scratch.{name} ({whole}) must be a multiple of "
                    f"model.scratch.{of} ({part}); the nearest is {nearest}"
                )
        return self

    def transformer(self, model_type: str, widening: float) -> dict[str, Any]:
        """Keys of a config.json; `widening`: how much wider the layers' inner maps are."""
        return {
            "model_type": model_type,
            "hidden_size": self.hidden_size,
            "intermediate_size": int(self.hidden_size * widening),
            "num_hidden_layers": self.num_layers,
            "num_attention_heads": self.num_heads,
        }
