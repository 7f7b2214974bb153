"""What the service gives wherever a model classifies, and the options that a request has."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict


class Options(BaseModel):
    """None yet."""

    model_config = ConfigDict(extra="forbid")


class Output(BaseModel):
    """The likeliest label, its probability, and those of all labels, to six decimals."""

    label: str
    score: float
    scores: dict[str, float]


EXAMPLE_OPTIONS: dict[str, Any] = {}
WARM_UP_OPTIONS: dict[str, Any] = {}
