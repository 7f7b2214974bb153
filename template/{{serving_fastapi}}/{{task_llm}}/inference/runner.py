"""Answers of a language model: who may begin, who waits, and what every token is for."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from functools import partial
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

from .admission import Admission
from .api import ModelInfo
from .batched import BatchedRunner
from .errors import deadline_exceeded, out_of_memory, unavailable
from .generation import Asked, Decoder, Mailbox, Piece, StreamingRunner, new_tokens, pieces
from .memory import free_memory, is_out_of_memory
from .metrics import Metrics
from .project import load_predictor
from .settings import ServeSettings

if TYPE_CHECKING:
    from .continuous import ContinuousBatching

logger = logging.getLogger(__name__)

INLINE_CHARACTERS = 4000  # tokenizing more would keep the event loop from other requests
MAX_FAILURES = 2  # in a row, after which the service is not ready


def load_runner(
    path: Path, settings: ServeSettings, metrics: Metrics
) -> LanguageRunner | BatchedRunner:
    """Load the model in `path` and begin to batch. Blocks. Raises UserError."""
    # it imports PyTorch, which takes seconds
    from .continuous import ContinuousBatching, UnsupportedModelError

    predictor = load_predictor(path, settings.service.device, settings.service.threads)
    try:
        batching = ContinuousBatching(predictor, settings.engine)
        return LanguageRunner(predictor, batching, settings, metrics)
    except UnsupportedModelError as error:
        fields = {"model": predictor.name, "reason": str(error)}
        logger.warning("no continuous batching for this model", extra={"fields": fields})
    free_memory()
    return BatchedRunner(predictor, settings, metrics)


class LanguageRunner(StreamingRunner):
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
        self._admission = Admission(settings.engine)
        self._waiting = self._writing = 0
        self._failures = 0
        self._closed = False
        self._restarting = asyncio.Lock()
        # one long prompt at a time, as each keeps a core busy
        self._tokenizing = ThreadPoolExecutor(max_workers=1, thread_name_prefix="tokenize")

    def waiting(self) -> int:
        """Answers that have not begun."""
        return self._waiting

    def stalled(self) -> str | None:
        """Why it should not be asked; an answer that works shows that it can be again."""
        if self._failures >= MAX_FAILURES:
            return "The model fails again and again; the log has the reason."
        return None

    async def stream(self, asked: Asked, deadline: float) -> AsyncGenerator[Piece, None]:
        """Write one answer; closing the generator ends it at the next token.

        Raises UserError for a bad prompt, ServiceError (429, 503).
        """
        arrived = time.monotonic()
        self._admit(deadline)
        prompt, max_new_tokens = await self._turn(asked, arrived, deadline)
        begun = time.monotonic()
        self._metrics.queue_seconds.observe(begun - arrived)
        decoder = Decoder(self._predictor.tokenizer, self._predictor.stop_ids, asked.stop)
        answer = _Answer(self._batching, deadline, partial(self._leave, begun))
        try:
            draw = {
                "temperature": float(asked.temperature),
                "top_p": float(asked.top_p),
                "seed": asked.seed,
            }
            answer.begin(prompt, max_new_tokens, draw)
            self._metrics.batch_size.observe(self._batching.active + 1)
            tokens = answer.mailbox.tokens(deadline)
            async with aclosing(pieces(tokens, decoder, len(prompt))) as written:
                async for piece in written:
                    if piece.finish_reason:
                        answer.end(whole=True)
                    yield piece
        except _FailedError as failure:
            await self._begin_anew()
            if is_out_of_memory(RuntimeError(str(failure))):
                raise out_of_memory() from None
            raise unavailable("model_failed", "The model failed at this; try again.") from None
        finally:
            answer.end()
            if answer.first_token is not None:
                self._metrics.first_token_seconds.observe(answer.first_token - arrived)
                self._metrics.prompt_tokens.inc(len(prompt))
            self._metrics.completion_tokens.inc(decoder.tokens)

    def close(self) -> None:
        """Take no more work; answers under way end with an error."""
        self._closed = True
        self._tokenizing.shutdown(wait=False, cancel_futures=True)
        # it waits for the library's thread; a daemon, as the end of the process does not
        Thread(target=self._batching.close, name="close", daemon=True).start()

    async def _read(self, asked: Asked) -> list[int]:
        if len(str(asked.prompt)) <= INLINE_CHARACTERS:
            ids: list[int] = self._predictor.encode(asked.prompt, asked.number)
            return ids
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(
            self._tokenizing, self._predictor.encode, asked.prompt, asked.number
        )

    def _admit(self, deadline: float) -> None:
        if self._closed:
            raise unavailable("draining", "The model is being replaced; try again.")
        self._admission.check(self._waiting + self._writing, deadline)

    async def _turn(self, asked: Asked, arrived: float, deadline: float) -> tuple[list[int], int]:
        """The prompt and the longest answer, once that may begin.

        Who leaves or is too late is dropped.
        """
        self._waiting += 1
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                prompt = await self._read(asked)
                self._metrics.preprocess_seconds.observe(time.monotonic() - arrived)
                context_tokens = self._batching.context_tokens
                max_new_tokens = new_tokens(asked, len(prompt), context_tokens, self._options)
                await self._turns.acquire()
        except TimeoutError:
            self._all_metrics.dropped.labels("deadline").inc()
            raise deadline_exceeded() from None
        except asyncio.CancelledError:
            self._all_metrics.dropped.labels("cancelled").inc()
            raise
        finally:
            self._waiting -= 1
        self._writing += 1
        return prompt, max_new_tokens

    def _leave(self, begun: float, whole: bool) -> None:
        """An answer is over; `whole`: written to its end."""
        seconds = time.monotonic() - begun
        self._turns.release()
        self._writing -= 1
        self._metrics.compute_seconds.observe(seconds)
        if whole:
            self._failures = 0
            self._admission.learn(seconds)

    async def _begin_anew(self) -> None:
        """After a failure, once for all the answers that it ended."""
        async with self._restarting:
            if self._batching.alive or self._closed:
                return
            self._failures += 1
            if self.stalled():
                logger.error("the model failed again; the service is not ready")
            logger.warning("the model failed and begins anew")
            try:
                await asyncio.to_thread(self._batching.restart)
            except Exception:  # the next answer fails, and tries it again
                logger.exception("the model could not begin anew")
                self._failures = max(self._failures, MAX_FAILURES)


class _FailedError(Exception):
    """The library ended the answer by an error."""


class _Answer:
    """An answer that is being written: passes the library's tokens on, and leaves its place.

    It leaves after its last token and at its deadline, though the client may read on later, or
    never.
    """

    def __init__(
        self, batching: ContinuousBatching, deadline: float, leave: Callable[[bool], None]
    ) -> None:
        self.mailbox = Mailbox()
        self.first_token: float | None = None
        """When it came, as time.monotonic()."""
        self._batching = batching
        self._leave = leave
        self._name: str | None = None
        self._taken = 0
        self._is_over = self._is_written = False
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(deadline - time.monotonic(), self.end)

    def begin(self, prompt: list[int], max_new_tokens: int, draw: dict[str, Any]) -> None:
        """Let the library write."""
        self._name = self._batching.submit(prompt, max_new_tokens, draw, self._take)
        if self._name is None:
            raise _FailedError("the thread has ended")

    def end(self, whole: bool = False) -> None:
        """Leave the place, if that has not been done before; `whole`: no token is missing."""
        if self._is_over:
            return
        self._is_over = True
        self._timer.cancel()
        if self._name is not None and not self._is_written:
            self._batching.cancel(self._name)
        self._leave(whole)

    def _take(self, output: Any) -> None:
        """Called by the library, on the event loop, after every token."""
        tokens = output.generated_tokens
        if tokens and self.first_token is None:
            self.first_token = time.monotonic()
        for token in tokens[self._taken :]:
            self.mailbox.put(token)
        self._taken = len(tokens)
        self._is_written = output.is_finished()
        if output.error is not None:  # the place is kept until the model has begun anew
            self.mailbox.fail(_FailedError(output.error))
        elif self._is_written:
            self.mailbox.end()
            self.end(whole=True)
