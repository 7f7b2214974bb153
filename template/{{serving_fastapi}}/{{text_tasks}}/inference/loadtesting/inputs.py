"""The inputs of a load test that was given none: the examples' words, in texts of mixed length."""

from __future__ import annotations

import random
from typing import Any

from ..schema import EXAMPLE_INPUTS

COUNT = 200
MEDIAN_WORDS, MOST_WORDS = 12, 150


def example_inputs() -> list[Any]:
    """Texts of log-normal length: most are short, a few are long, as people write."""
    words = [word for item in EXAMPLE_INPUTS if isinstance(item, str) for word in item.split()]
    rng = random.Random(0)
    lengths = (
        min(MOST_WORDS, 1 + int(MEDIAN_WORDS * rng.lognormvariate(0, 0.8))) for _ in range(COUNT)
    )
    return [" ".join(rng.choices(words, k=length)) for length in lengths]
