"""The thread that writes answers in batches, with what it writes and what waits for it.

What waits becomes one batch; prompts that come later join where they at least double it, or after
JOIN_STEPS tokens: the batch leaves off and goes on with the new prompts, each answer behind its
tokens so far. More often would cost more than it gains, as all that was read has to be read again.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Hashable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Protocol

from prometheus_client import Counter

from .engine import HUNG, NO_MEMORY, OUT_OF_MEMORY_AGAIN, STOPPED
from .errors import out_of_memory
from .memory import attempt, halves
from .metrics import ModelMetrics
from .scheduling import Row, may_join, next_batch


class Writer(Protocol):
    """What is asked of a predictor."""

    name: str
    version: str
    digest: str
    tokenizer: Any
    stop_ids: list[int]
    positions: int | None

    def read(self, item: Any, number: int, limit: float | None) -> Any:
        """Check and prepare a prompt; called from several threads. Raises UserError."""

    def length(self, prompt: Any) -> int:
        """Tokens of a prepared prompt."""

    def shapes(self, prompt: Any) -> Hashable:
        """What is equal for prompts that can share a batch."""

    def write(self, rows: Sequence[Any], pause: Callable[[int], bool]) -> list[Any]:
        """Give the rows their tokens; return those that want more."""


class Writing:
    """Begins to write as soon as there is something; public methods run on the event loop."""

    def __init__(
        self,
        predictor: Writer,
        max_streams: int,
        metrics: ModelMetrics,
        dropped: Counter,
        hung_seconds: float,
    ) -> None:
        self._predictor = predictor
        self._max_streams = max_streams
        self._hung_seconds = hung_seconds
        self._last_token: float | None = None  # when the batch at work got its last; None: no batch
        self._metrics, self._dropped = metrics, dropped
        self._loop: asyncio.AbstractEventLoop | None = None
        self._changed = threading.Condition()
        self._rows: list[Row] = []  # that are not in the batch, in the order in which they came
        self._batch: list[Row] = []
        self._fresh: list[tuple[Row, int, bool]] = []  # tokens on their way to the event loop
        self.closed = False
        """Whether nothing new is taken."""
        self._out_of_memory = 0  # batches in a row
        self._thread = threading.Thread(target=self._work, name="model", daemon=True)
        self._thread.start()

    def waiting(self) -> int:
        """Rows that are not being written."""
        return len(self._rows)

    def at_hand(self) -> int:
        """Rows that are written or wait."""
        return len(self._rows) + len(self._batch)

    def stopped(self) -> str | None:
        """Why nothing is taken up any more, in a sentence."""
        return None if self._thread.is_alive() or self.closed else STOPPED

    def stalled(self) -> str | None:
        """Why no more answers will come, in a sentence."""
        token = self._last_token
        if token is not None and time.monotonic() - token > self._hung_seconds:
            return HUNG
        return NO_MEMORY if self._out_of_memory >= OUT_OF_MEMORY_AGAIN else self.stopped()

    def put(self, row: Row) -> bool:
        """Let a row wait; False after `close`."""
        self._loop = asyncio.get_running_loop()
        with self._changed:
            if not self.closed:
                self._rows.append(row)
                self._changed.notify()
            return not self.closed

    def give_up(self, row: Row) -> None:
        """Write no more of a row."""
        with self._changed:
            row.cancelled = True
            self._changed.notify()  # so that it does not count as waiting

    def close(self) -> list[Row]:
        """Take up nothing more, but finish what was begun; return what was not."""
        with self._changed:
            self.closed = True
            left = [row for row in self._rows if row.begun is None]
            self._rows = [row for row in self._rows if row.begun is not None]
            self._changed.notify()
            return left

    def hand_over(self, row: Row, token: int, last: bool) -> None:
        """A row's next token; called while it is written."""
        self._fresh.append((row, token, last))

    # what follows runs in the model's thread

    def _work(self) -> None:
        while batch := self._next():
            begun = self._last_token = time.monotonic()
            for row in batch:
                if row.begun is None:
                    row.begun = begun
                    self._metrics.queue_seconds.observe(begun - row.asked_at)
                    self._metrics.prompt_tokens.inc(row.prompt_tokens)
            self._metrics.batch_size.observe(len(batch))
            unfinished = self._write_or_fail(batch)
            self._metrics.compute_seconds.observe(time.monotonic() - begun)
            self._last_token = None
            with self._changed:
                self._rows = [*unfinished, *self._rows]
                self._batch = []

    def _next(self) -> list[Row]:
        """Wait for prompts, and take those for one batch; none at the end."""
        with self._changed:
            while True:
                self._drop_given_up()
                if self._rows:
                    break
                if self.closed:
                    return []
                self._changed.wait()
            self._batch = next_batch(self._rows, self._max_streams)
            self._rows = [row for row in self._rows if row not in self._batch]
            return self._batch

    def _drop_given_up(self) -> None:
        kept = [row for row in self._rows if not row.is_given_up()]
        for row in self._rows:
            if row not in kept and row.begun is None:
                self._dropped.labels("cancelled" if row.cancelled else "deadline").inc()
        self._rows = kept

    def _write_or_fail(self, batch: list[Row]) -> list[Row]:
        """Write; what fails is told to those who asked, each for itself."""
        try:
            return self._write(batch)
        except Exception as error:
            if len(batch) == 1:
                self._fail(batch, error)
                return []
        # one answer must not fail its neighbours
        left = [row for row in batch if row.wants_more()]
        return [more for row in left for more in self._write_or_fail([row])]

    def _write(self, batch: list[Row]) -> list[Row]:
        """Write, in halves where the memory does not suffice; return what wants more."""
        unfinished = self._attempt(batch)
        if unfinished is not None:
            self._out_of_memory = 0
            return unfinished
        # each answer goes on where it was
        left = [row for row in batch if row.wants_more()]
        unfinished = []
        failures = self._out_of_memory + 1  # where nothing of the batch can be written
        for half in halves(left):
            rows = [row for row in half if row.wants_more()]  # the first half took its time
            more = self._attempt(rows) if rows else []
            if more is None:
                self._out_of_memory = failures
                self._fail(rows, out_of_memory())
            elif rows:
                unfinished += more
                self._out_of_memory = failures = 0
        return unfinished

    def _attempt(self, rows: list[Row]) -> list[Row] | None:
        """Write; None where the memory did not suffice."""
        return attempt(partial(self._predictor.write, rows, self._pause))

    def _pause(self, steps: int) -> bool:
        """Send a step's tokens off; tell whether a prompt that waits could join the batch."""
        fresh, self._fresh = self._fresh, []
        self._last_token = time.monotonic()
        self._call(self._deliver, fresh, self._last_token)
        if not self._rows:
            return False
        with self._changed:
            self._drop_given_up()
            return may_join(self._batch, self._rows, self._max_streams, steps)

    def _fail(self, rows: Sequence[Row], error: BaseException) -> None:
        for row in rows:
            self._call(row.mailbox.fail, error)

    def _call(self, what: Callable[..., object], *arguments: Any) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            assert self._loop is not None
            self._loop.call_soon_threadsafe(what, *arguments)

    def _deliver(self, fresh: Sequence[tuple[Row, int, bool]], now: float) -> None:
        """Hand tokens to their readers; on the event loop."""
        for row, token, last in fresh:
            if not row.answered:
                row.answered = True
                self._metrics.first_token_seconds.observe(now - row.asked_at)
            row.mailbox.put(token)
            if last:
                row.mailbox.end()
