"""Who may wait for an answer, judged by what is at hand and by how long answers take."""

from __future__ import annotations

import time

from .errors import overloaded
from .runner_options import RunnerOptions

SMOOTHING = 0.2  # weight of the newest answer in the average


class Admission:
    """Refuses at once what would not begin in time."""

    def __init__(self, options: RunnerOptions) -> None:
        self._max_streams, self._max_waiting = options.max_streams, options.max_waiting
        self.answer_seconds = 0.0
        """How long an answer takes, a moving average; 0 before the first."""

    def check(self, at_hand: int, deadline: float) -> None:
        """Raise ServiceError (429) for one more, beside those that are written or wait."""
        ahead = at_hand - self._max_streams
        if ahead < 0:
            return
        wait_s = (ahead + 1) / self._max_streams * self.answer_seconds
        if ahead >= self._max_waiting or time.monotonic() + wait_s > deadline:
            raise overloaded(wait_s)

    def learn(self, seconds: float) -> None:
        """An answer was written to its end in so long."""
        average = self.answer_seconds or seconds
        self.answer_seconds = average + SMOOTHING * (seconds - average)
