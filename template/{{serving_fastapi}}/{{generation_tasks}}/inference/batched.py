"""Answers written in batches, for models which cannot take in a prompt at every token.

Here is who may ask and what becomes of the tokens; writing.py has the thread that makes them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from typing import Any

from .admission import Admission
from .api import ModelInfo
from .errors import ServiceError, deadline_exceeded, unavailable
from .generation import Asked, Decoder, Piece, StreamingRunner, new_tokens, pieces
from .metrics import Metrics
from .scheduling import Row
from .settings import ServeSettings
from .writing import Writer, Writing

READERS = 4  # threads that prepare prompts, which are images above all


class BatchedRunner(StreamingRunner):
    """Holds a model and what it is asked; all of it runs on the event loop."""

    def __init__(self, predictor: Writer, settings: ServeSettings, metrics: Metrics) -> None:
        self.info = ModelInfo(
            name=predictor.name, version=predictor.version, digest=predictor.digest
        )
        self._predictor, self._options = predictor, settings.engine
        self._limit = settings.limits.of_media
        self._metrics, self._dropped = metrics.of(self.info), metrics.dropped
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="read")
        self._reading = 0
        self._admission = Admission(settings.engine)
        self._writing = Writing(
            predictor,
            settings.engine.max_streams,
            self._metrics,
            metrics.dropped,
            settings.hung_seconds,
        )

    def waiting(self) -> int:
        """Prompts that are prepared or wait to be."""
        return self._reading + self._writing.waiting()

    def stalled(self) -> str | None:
        """Why no more answers will come, in a sentence."""
        return self._writing.stalled()

    async def stream(self, asked: Asked, deadline: float) -> AsyncGenerator[Piece, None]:
        """Answer piece by piece; closing the generator ends the work at the next token.

        Raises UserError for a bad prompt, ServiceError (429, 503).
        """
        asked_at = time.monotonic()
        if self._writing.closed:
            raise _closed()
        if reason := self._writing.stopped():
            raise unavailable("stalled", reason, retry_after_s=5)
        self._admission.check(self._reading + self._writing.at_hand(), deadline)
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
            self._writing.hand_over,
            asked_at=asked_at,
        )
        self._metrics.preprocess_seconds.observe(time.monotonic() - asked_at)
        decoder = Decoder(self._predictor.tokenizer, self._predictor.stop_ids, asked.stop)
        if not self._writing.put(row):
            raise _closed()
        try:
            tokens = row.mailbox.tokens(deadline)
            async with aclosing(pieces(tokens, decoder, prompt_tokens)) as answer:
                async for piece in answer:
                    if piece.finish_reason and row.begun:  # whoever reads this asks no further
                        self._admission.learn((row.ended or time.monotonic()) - row.begun)
                    yield piece
        finally:
            self._writing.give_up(row)
            self._metrics.completion_tokens.inc(decoder.tokens)

    def close(self) -> None:
        """Take no more, fail what waits; the answers that are being written are finished."""
        left = self._writing.close()
        self._readers.shutdown(wait=False, cancel_futures=True)
        for row in left:
            row.mailbox.fail(_closed())

    def _longest(self, asked: Asked, prompt_tokens: int) -> int:
        limits = (self._options.max_context_tokens, self._predictor.positions)
        context = min((limit for limit in limits if limit), default=None)
        return new_tokens(asked, prompt_tokens, context, self._options)

    async def _read(self, asked: Asked, deadline: float) -> Any:
        loop = asyncio.get_running_loop()
        self._reading += 1
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                read, prompt = self._predictor.read, asked.prompt
                return await loop.run_in_executor(
                    self._readers, read, prompt, asked.number, self._limit
                )
        except TimeoutError:
            self._dropped.labels("deadline").inc()
            raise deadline_exceeded() from None
        finally:
            self._reading -= 1


def _closed() -> ServiceError:
    return unavailable("draining", "The model is being replaced; try again.")
