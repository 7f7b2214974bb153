"""Section `engine` of configs/serve.yaml: how inputs are put together for the model."""

from __future__ import annotations

from pydantic import Field, PositiveInt

from .project import Section


class RunnerOptions(Section):
    """Batches are made of what waits; nothing waits for a batch to fill."""

    max_batch_size: PositiveInt = 32
    """Inputs that the model computes at once."""
    max_waiting: PositiveInt = 256
    """Inputs that may wait, of all requests; the next one is answered 429."""
    max_padding: float = Field(default=0.5, ge=0.0, le=1.0)
    """Share of a batch that may be padding: inputs of other lengths then wait for the next."""
