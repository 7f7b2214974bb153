"""How answers are generated: section `engine` of configs/serve.yaml."""

from __future__ import annotations

from pydantic import Field, NonNegativeInt, PositiveInt

from .project import Section


class RunnerOptions(Section):
    """Limits of generation."""

    max_new_tokens: PositiveInt = 1024
    """Longest answer, and the length of one for which a chat names none."""
    max_streams: PositiveInt = 16
    """Answers written at the same time; more of them are faster together and slower each."""
    max_waiting: NonNegativeInt = 64
    """Answers that may wait for their turn; the next is told to come back later."""
    max_context_tokens: PositiveInt | None = None
    """Longest prompt and answer together; by default the model's own limit.
    A smaller one needs less memory."""
    cache_memory_fraction: float = Field(default=0.5, gt=0.0, le=0.95)
    """Most of the device's free memory that the keys and values of all streams may take.
    No more is taken than `max_streams` answers of the longest context need."""
    prefill_tokens: PositiveInt = 512
    """Tokens of new prompts that are read in one step, while the running answers wait."""
