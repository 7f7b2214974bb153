"""Answers written in batches, for models which cannot take in a prompt at every token.

One thread writes. What waits becomes one batch; prompts that come later join where they at least
double it, or after JOIN_STEPS tokens: the batch leaves off and goes on with the new prompts, each
answer behind its tokens so far. More often would cost more than it gains, as all that was read has
to be read again.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, Callable, Hashable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

from .api import ModelInfo
from .errors import ServiceError, deadline_exceeded, out_of_memory, overloaded, unavailable
from .generation import Asked, Decoder, Mailbox, Piece, answer_all, new_tokens, pieces
from .memory import free_memory, is_out_of_memory
from .metrics import Metrics
from .settings import ServeSettings

JOIN_STEPS = 32
READERS = 4  # threads that prepare prompts
OUT_OF_MEMORY_AGAIN = 2  # batches in a row, after which the service is not ready
STOPPED = "The model's thread has ended; restart the service."
NO_MEMORY = "The model is out of memory, again and again; give it more or lower the limits."
SMOOTHING = 0.2  # weight of the newest answer in the average


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


@dataclass(eq=False)
class Row:
    """An answer, as the predictor's `write` takes it."""

    prompt: Any
    prompt_tokens: int
    shapes: Hashable
    max_new_tokens: int
    temperature: float
    top_p: float
    seed: int
    deadline: float
    hand_over: Callable[[Row, int, bool], None]
    mailbox: Mailbox = field(default_factory=Mailbox)
    ids: list[int] = field(default_factory=list)
    answered: bool = False
    ended: bool = False
    cancelled: bool = False
    begun: float | None = None
    asked_at: float = field(default_factory=time.monotonic)

    def take(self, token: int, last: bool) -> bool:
        """Take the next token; False where nobody wants more."""
        self.ids.append(token)
        self.ended = last
        self.hand_over(self, token, last)
        return not self.is_given_up()

    def is_given_up(self) -> bool:
        """Whether the client has left or waited too long."""
        return self.cancelled or time.monotonic() > self.deadline

    def length(self) -> int:
        """Tokens of the prompt and of the answer so far."""
        return self.prompt_tokens + len(self.ids)


class BatchedRunner:
    """Holds a model and what it is asked; its public methods run on the event loop."""

    def __init__(self, predictor: Writer, settings: ServeSettings, metrics: Metrics) -> None:
        self.info = ModelInfo(
            name=predictor.name, version=predictor.version, digest=predictor.digest
        )
        self._predictor, self._options = predictor, settings.engine
        self._limit = settings.limits.of_media
        self._metrics, self._dropped = metrics.of(self.info), metrics.dropped
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="read")
        self._reading = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._changed = threading.Condition()
        self._rows: list[Row] = []  # that are not in the batch, in the order in which they came
        self._batch: list[Row] = []
        self._fresh: list[tuple[Row, int, bool]] = []  # tokens on their way to the event loop
        self._answer_seconds = 0.0  # moving average
        self._closed = False
        self._out_of_memory = 0  # batches in a row
        self._thread = threading.Thread(target=self._work, name="model", daemon=True)
        self._thread.start()

    def waiting(self) -> int:
        """Prompts that are prepared or wait to be."""
        return self._reading + len(self._rows)

    def stalled(self) -> str | None:
        """Why no more answers will come, in a sentence."""
        if self._out_of_memory >= OUT_OF_MEMORY_AGAIN:
            return NO_MEMORY
        return None if self._thread.is_alive() or self._closed else STOPPED

    async def predict(
        self, inputs: Sequence[Any], options: Mapping[str, Any], deadline: float
    ) -> list[Any]:
        """One output of /v1/predict for each input."""
        return await answer_all(self, inputs, options, deadline)

    async def stream(self, asked: Asked, deadline: float) -> AsyncGenerator[Piece, None]:
        """Answer piece by piece; closing the generator ends the work at the next token.

        Raises UserError for a bad prompt, ServiceError (429, 503).
        """
        asked_at = time.monotonic()
        self._admit(deadline - asked_at)
        prompt = await self._read(asked, deadline)
        prompt_tokens = self._predictor.length(prompt)
        row = Row(
            prompt,
            prompt_tokens,
            self._predictor.shapes(prompt),
            self._longest(asked, prompt_tokens),
            asked.temperature,
            asked.top_p,
            asked.seed,
            deadline,
            self._hand_over,
            asked_at=asked_at,
        )
        self._metrics.preprocess_seconds.observe(time.monotonic() - asked_at)
        decoder = Decoder(self._predictor.tokenizer, self._predictor.stop_ids, asked.stop)
        try:
            self._put(row)
            tokens = row.mailbox.tokens(deadline)
            async with aclosing(pieces(tokens, decoder, prompt_tokens)) as answer:
                async for piece in answer:
                    yield piece
        finally:
            row.cancelled = True
            self._metrics.completion_tokens.inc(decoder.tokens)
            if row.ended and row.begun:
                seconds = time.monotonic() - row.begun - (self._answer_seconds or 0.0)
                self._answer_seconds += SMOOTHING * seconds if self._answer_seconds else seconds
            with self._changed:
                self._changed.notify()  # so that it does not count as waiting

    def close(self) -> None:
        """Take no more, fail what waits; the answers that are being written are finished."""
        with self._changed:
            self._closed = True
            left = [row for row in self._rows if row.begun is None]
            self._rows = [row for row in self._rows if row not in left]
            self._changed.notify()
        self._readers.shutdown(wait=False, cancel_futures=True)
        for row in left:
            row.mailbox.fail(_closed())

    def _admit(self, seconds: float) -> None:
        """Refuse at once what would not begin in time."""
        if not self._thread.is_alive():
            raise unavailable("stalled", STOPPED, retry_after_s=5)
        ahead = self.waiting() + len(self._batch) - self._options.max_streams
        wait_s = max(0, ahead + 1) / self._options.max_streams * self._answer_seconds
        if ahead >= self._options.max_waiting or wait_s > seconds:
            raise overloaded(wait_s)

    def _longest(self, asked: Asked, prompt_tokens: int) -> int:
        limits = (self._options.max_context_tokens, self._predictor.positions)
        context = min((limit for limit in limits if limit), default=None)
        return new_tokens(asked, prompt_tokens, context, self._options)

    def _put(self, row: Row) -> None:
        with self._changed:
            if self._closed:
                raise _closed()
            self._rows.append(row)
            self._changed.notify()

    async def _read(self, asked: Asked, deadline: float) -> Any:
        self._loop = asyncio.get_running_loop()
        self._reading += 1
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                read, prompt = self._predictor.read, asked.prompt
                return await self._loop.run_in_executor(
                    self._readers, read, prompt, asked.number, self._limit
                )
        except TimeoutError:
            self._dropped.labels("deadline").inc()
            raise deadline_exceeded() from None
        finally:
            self._reading -= 1

    # what follows runs in the model's thread

    def _work(self) -> None:
        while batch := self._next():
            begun = time.monotonic()
            for row in batch:
                if row.begun is None:
                    row.begun = begun
                    self._metrics.queue_seconds.observe(begun - row.asked_at)
                    self._metrics.prompt_tokens.inc(row.prompt_tokens)
            self._metrics.batch_size.observe(len(batch))
            try:
                unfinished = self._write(batch)
            except Exception as error:  # told to those who asked; the next batch may work
                self._fail(batch, error)
                unfinished = []
            self._metrics.compute_seconds.observe(time.monotonic() - begun)
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
                if self._closed:
                    return []
                self._changed.wait()
            # The longest waiting one comes first, then those that need the least padding with it.
            first = self._rows[0]
            fitting = [row for row in self._rows if row.shapes == first.shapes]
            fitting = fitting[: 2 * self._options.max_streams]
            fitting.sort(key=lambda row: abs(row.length() - first.length()))
            self._batch = fitting[: self._options.max_streams]
            self._rows = [row for row in self._rows if row not in self._batch]
            return self._batch

    def _drop_given_up(self) -> None:
        kept = [row for row in self._rows if not row.is_given_up()]
        for row in self._rows:
            if row not in kept and row.begun is None:
                self._dropped.labels("cancelled" if row.cancelled else "deadline").inc()
        self._rows = kept

    def _write(self, batch: list[Row]) -> list[Row]:
        try:
            unfinished = self._predictor.write(batch, self._pause)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
        else:
            self._out_of_memory = 0
            return unfinished
        free_memory()
        # each answer goes on where it was
        unfinished, middle = [], len(batch) // 2
        for half in filter(None, (batch[:middle], batch[middle:])):
            try:
                unfinished += self._predictor.write(half, self._pause)
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                self._out_of_memory += 1
                self._fail(half, out_of_memory())
            else:
                self._out_of_memory = 0
        return unfinished

    def _hand_over(self, row: Row, token: int, last: bool) -> None:
        self._fresh.append((row, token, last))

    def _pause(self, steps: int) -> bool:
        """Send a step's tokens off; tell whether a prompt that waits could join the batch."""
        fresh, self._fresh = self._fresh, []
        self._call(self._deliver, fresh, time.monotonic())
        if not self._rows:
            return False
        # those that have ended leave their places
        running = sum(not row.ended and not row.is_given_up() for row in self._batch)
        with self._changed:
            self._drop_given_up()
            joining = sum(row.shapes == self._batch[0].shapes for row in self._rows)
        if not joining or running >= self._options.max_streams:
            return False
        return joining >= running or steps >= JOIN_STEPS

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


def _closed() -> ServiceError:
    return unavailable("draining", "The model is being replaced; try again.")
