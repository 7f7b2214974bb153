"""The canary: a request whose answer decides whether a model that was loaded may serve.

By default it is the task's example, whose answer must be whole. `service.canary` names a JSON file
with a request of your own and, if you like, what must come out:
{"inputs": [...], "options": {...}, "outputs": [{"label": "billing"}], "tolerance": 0.05}
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, NonNegativeFloat, TypeAdapter, ValidationError

from .api import PredictRequest
from .output import WARM_UP_OPTIONS, Output
from .project import ConfigError, Section, UserError
from .schema import EXAMPLE_INPUTS
from .validation import explain

OUTPUTS = TypeAdapter(list[Output])


class Canary(PredictRequest):
    """A request, and what is known of its answer."""

    outputs: list[dict[str, Any]] | None = Field(default=None, min_length=1)
    """What must be in the outputs, key by key; other keys may have any value."""
    tolerance: NonNegativeFloat = 0.01
    """How far a number may be off."""

    @classmethod
    def read(cls, file: str | None, options: Mapping[str, Any] | None = None) -> Canary:
        """Read the file, or take the task's example with `options`. Raises ConfigError."""
        if file is None:
            return cls.model_validate({"inputs": EXAMPLE_INPUTS, "options": options or {}})
        try:
            canary = cls.model_validate_json(Path(file).read_bytes())
        except OSError as error:
            reason = error.strerror or "it cannot be read"
            raise ConfigError(f"service.canary {file}: {reason}") from None
        except ValidationError as error:
            raise ConfigError(f"service.canary {file}: {explain(error, cls)}") from None
        if canary.outputs is not None and len(canary.outputs) != len(canary.inputs):
            raise ConfigError(f"service.canary {file}: give one of `outputs` for each of `inputs`")
        return canary

    def check(self, outputs: list[Any]) -> None:
        """Raise UserError, saying what is wrong with a model's answer."""
        try:
            OUTPUTS.validate_python(outputs)
        except ValidationError as error:
            raise UserError(f"the canary's answer is not whole: {explain(error)}") from None
        if len(outputs) != len(self.inputs):
            raise UserError(f"the canary's {len(self.inputs)} inputs got {len(outputs)} outputs")
        for place, number in _numbers(outputs, "outputs"):
            if not math.isfinite(number):
                raise UserError(f"the canary's answer is no number at {place}; the model is broken")
        for i, expected in enumerate(self.outputs or []):
            differs = _difference(expected, outputs[i], self.tolerance, f"outputs[{i}]")
            if differs:
                raise UserError(f"the canary's answer is not that of service.canary: {differs}")


def warm_up_options(limits: Section) -> dict[str, Any]:
    """The task's options for a first, short answer; none beyond the limit of the same name."""
    return {key: min(value, getattr(limits, key, value)) for key, value in WARM_UP_OPTIONS.items()}


def same_form(before: list[Any], after: list[Any]) -> bool:
    """Whether two models answer with the same keys: those of classifiers are their labels."""
    return _keys(before) == _keys(after)


def _keys(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _keys(each) for key, each in value.items()}
    return [_keys(each) for each in value] if isinstance(value, list) else None


def _numbers(value: Any, place: str) -> list[tuple[str, float]]:
    if isinstance(value, dict):
        return [found for each in value.values() for found in _numbers(each, place)]
    if isinstance(value, list):
        return [found for i, each in enumerate(value) for found in _numbers(each, f"{place}[{i}]")]
    return [(place, value)] if isinstance(value, float) else []


def _difference(expected: Any, found: Any, tolerance: float, place: str) -> str | None:
    """Where `found` is not what was expected; None where it is."""
    if isinstance(expected, dict):
        if not isinstance(found, dict):
            return place
        pairs = [(f"{place}.{key}", value, found.get(key)) for key, value in expected.items()]
    elif isinstance(expected, list):
        if not isinstance(found, list) or len(expected) != len(found):
            return place
        both = enumerate(zip(expected, found, strict=True))
        pairs = [(f"{place}[{i}]", value, other) for i, (value, other) in both]
    elif _is_number(expected) and _is_number(found):
        return None if abs(expected - found) <= tolerance else place
    else:
        return None if expected == found else place
    differences = (_difference(value, other, tolerance, at) for at, value, other in pairs)
    return next((each for each in differences if each), None)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
