"""Answers of a language model: who may begin, who waits, and what every token is for."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .api import ModelInfo
from .batched import BatchedRunner
from .errors import deadline_exceeded, out_of_memory, overloaded, unavailable
from .generation import Asked, Decoder, Mailbox, Piece, answer_all, new_tokens, pieces
from .memory import is_out_of_memory
from .metrics import Metrics, ModelMetrics
from .project import load_predictor
from .settings import ServeSettings

if TYPE_CHECKING:
    from .continuous import ContinuousBatching

logger = logging.getLogger(__name__)

INLINE_CHARACTERS = 4000  # tokenizing more would keep the event loop from other requests
MAX_FAILURES = 2  # in a row; another begin would only fail again
SMOOTHING = 0.2  # weight of the newest answer in the average


def load_runner(
    path: Path, settings: ServeSettings, metrics: Metrics
) -> LanguageRunner | BatchedRunner:
    """Load the model in `path` and begin to batch. Blocks. Raises UserError."""
    # it imports PyTorch, which takes seconds
    from .continuous import ContinuousBatching, UnsupportedModelError

    predictor = load_predictor(path, settings.service.device, settings.service.threads)
    try:
        batching = ContinuousBatching(predictor, settings.engine)
    except UnsupportedModelError as error:
        fields = {"model": predictor.name, "reason": str(error)}
        logger.warning("no continuous batching for this model", extra={"fields": fields})
        return BatchedRunner(predictor, settings, metrics)
    return LanguageRunner(predictor, batching, settings, metrics)


class LanguageRunner:
    """Streams the answers of one model."""

    def __init__(
        self,
        predictor: Any,
        batching: ContinuousBatching,
        settings: ServeSettings,
        metrics: Metrics,
    ) -> None:
        self.info = ModelInfo(
            name=predictor.name, version=predictor.version, digest=predictor.digest
        )
        self._predictor = predictor
        self._batching = batching
        self._options = settings.engine
        self._all_metrics = metrics
        self._metrics = metrics.of(self.info)
        self._turns = asyncio.Semaphore(settings.engine.max_streams)
        self._waiting = 0
        self._answer_seconds = 0.0  # moving average
        self._failures = 0
        self._closed = False
        self._restarting = asyncio.Lock()
        # one thread: a tokenizer is not made for several
        self._tokenizing = ThreadPoolExecutor(max_workers=1, thread_name_prefix="tokenize")

    def waiting(self) -> int:
        """Answers that have not begun."""
        return self._waiting

    def stalled(self) -> str | None:
        """Why no answer can be written any more."""
        if self._failures >= MAX_FAILURES:
            return "The model fails again and again; restart the service."
        return None

    async def predict(
        self, inputs: Sequence[Any], options: Mapping[str, Any], deadline: float
    ) -> list[Any]:
        """One output for each input."""
        return await answer_all(self, inputs, options, deadline)

    async def stream(self, asked: Asked, deadline: float) -> AsyncGenerator[Piece, None]:
        """Write one answer; closing the generator ends it at the next token.

        Raises UserError for a bad prompt, ServiceError (429, 503).
        """
        arrived = time.monotonic()
        prompt = await self._read(asked)
        self._metrics.preprocess_seconds.observe(time.monotonic() - arrived)
        context_tokens = self._batching.context_tokens
        max_new_tokens = new_tokens(asked, len(prompt), context_tokens, self._options)
        await self._turn(deadline)
        begun = time.monotonic()
        self._metrics.queue_seconds.observe(begun - arrived)
        decoder = Decoder(self._predictor.tokenizer, self._predictor.stop_ids, asked.stop)
        mailbox = Mailbox()
        answer = _Answer(mailbox)
        name = None
        try:
            draw = {
                "temperature": float(asked.temperature),
                "top_p": float(asked.top_p),
                "seed": asked.seed,
            }
            name = self._batching.submit(prompt, max_new_tokens, draw, answer.take)
            if name is None:
                raise _FailedError("the thread has ended")
            self._metrics.batch_size.observe(self._batching.active + 1)
            tokens = answer.first(mailbox.tokens(deadline), arrived, self._metrics)
            async for piece in pieces(tokens, decoder, len(prompt)):
                yield piece
            self._failures = 0
            self._learn(time.monotonic() - begun)
        except _FailedError as failure:
            await self._begin_anew()
            if is_out_of_memory(self._batching.failure or RuntimeError(str(failure))):
                raise out_of_memory() from None
            raise unavailable("model_failed", "The model failed at this; try again.") from None
        finally:
            if name is not None and not answer.ended:
                self._batching.cancel(name)
            self._turns.release()
            self._metrics.compute_seconds.observe(time.monotonic() - begun)
            self._metrics.prompt_tokens.inc(len(prompt) if answer.began else 0)
            self._metrics.completion_tokens.inc(decoder.tokens)

    def close(self) -> None:
        """Take no more work; answers under way end with an error."""
        self._closed = True
        self._tokenizing.shutdown(wait=False, cancel_futures=True)
        self._batching.close()

    async def _read(self, asked: Asked) -> list[int]:
        if len(str(asked.prompt)) <= INLINE_CHARACTERS:
            ids: list[int] = self._predictor.encode(asked.prompt, asked.number)
            return ids
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(
            self._tokenizing, self._predictor.encode, asked.prompt, asked.number
        )

    async def _turn(self, deadline: float) -> None:
        """Wait until an answer may begin; who leaves or is too late is dropped."""
        if self._closed:
            raise unavailable("draining", "The model is being replaced; try again.")
        if reason := self.stalled():
            raise unavailable("stalled", reason, retry_after_s=5)
        if self._turns.locked():
            wait_s = self._answer_seconds * (self._waiting + 1) / self._options.max_streams
            if self._waiting >= self._options.max_waiting or time.monotonic() + wait_s > deadline:
                raise overloaded(wait_s)
        self._waiting += 1
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                await self._turns.acquire()
        except TimeoutError:
            self._all_metrics.dropped.labels("deadline").inc()
            raise deadline_exceeded() from None
        except asyncio.CancelledError:
            self._all_metrics.dropped.labels("cancelled").inc()
            raise
        finally:
            self._waiting -= 1

    async def _begin_anew(self) -> None:
        """After a failure, once for all the answers that it ended; give up where it repeats."""
        async with self._restarting:
            if self._batching.alive or self._closed or self.stalled():
                return
            self._failures += 1
            if self.stalled():
                logger.error("the model failed again; the service is not ready any more")
                return
            logger.warning("the model failed and begins anew")
            try:
                await asyncio.to_thread(self._batching.restart)
            except Exception:
                logger.exception("the model could not begin anew")
                self._failures = MAX_FAILURES

    def _learn(self, seconds: float) -> None:
        average = self._answer_seconds or seconds
        self._answer_seconds = average + SMOOTHING * (seconds - average)


class _FailedError(Exception):
    """The library ended the answer by an error."""


class _Answer:
    """Passes the library's outputs on as tokens."""

    def __init__(self, mailbox: Mailbox) -> None:
        self.began = self.ended = False
        self._mailbox = mailbox
        self._taken = 0

    def take(self, output: Any) -> None:
        """Called by the library, on the event loop, after every token."""
        tokens = output.generated_tokens
        for token in tokens[self._taken :]:
            self._mailbox.put(token)
        self._taken = len(tokens)
        self.ended = output.is_finished()
        if output.error is not None:
            self._mailbox.fail(_FailedError(output.error))
        elif self.ended:
            self._mailbox.end()

    async def first(
        self, tokens: AsyncIterator[int], arrived: float, metrics: ModelMetrics
    ) -> AsyncIterator[int]:
        """The same tokens; the first one is timed."""
        async for token in tokens:
            if not self.began:
                self.began = True
                metrics.first_token_seconds.observe(time.monotonic() - arrived)
            yield token
