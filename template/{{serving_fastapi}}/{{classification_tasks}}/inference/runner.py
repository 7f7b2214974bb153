"""Dynamic batching: what arrives while the model is at work is its next batch."""

from __future__ import annotations

import asyncio
import logging
import math
import os
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .api import ModelInfo
from .batching import Call, Item, Pace, Queue
from .engine import HUNG, NO_MEMORY, OUT_OF_MEMORY_AGAIN, STOPPED
from .errors import ServiceError, deadline_exceeded, out_of_memory, overloaded, unavailable
from .memory import attempt, halves
from .metrics import Metrics
from .project import load_predictor
from .schema import EXAMPLE_INPUTS
from .settings import ServeSettings
from .tracing import record

if TYPE_CHECKING:
    from .project import Predictor

logger = logging.getLogger(__name__)

MARGIN = 2.0  # of an estimate: what arrives in the meantime, and the answers, take time too


def load_runner(path: Path, settings: ServeSettings, metrics: Metrics) -> BatchingRunner:
    """Load a model and warm it up; takes seconds. Raises UserError."""
    service = settings.service
    predictor = load_predictor(path, service.device, service.threads)
    return BatchingRunner(predictor, settings, metrics)


class BatchingRunner:
    """One model, one thread that computes, and what waits for it.

    The thread takes a batch as soon as it is free, and never waits for one to fill. What must be
    decoded first, as images and sound, is read by threads of its own before it waits.
    """

    def __init__(self, predictor: Predictor, settings: ServeSettings, metrics: Metrics) -> None:
        options = settings.engine
        info = ModelInfo(name=predictor.name, version=predictor.version, digest=predictor.digest)
        self.info = info
        self._predictor = predictor
        self._limit = settings.limits.of_media
        self._hung_seconds = settings.hung_seconds
        self._batch_size, self._max_waiting = options.max_batch_size, options.max_waiting
        self._queue = Queue(options.max_batch_size, options.max_padding)
        self._reading = 0
        self._dropped = metrics.dropped
        self._metrics = metrics.of(info)
        self._failures = 0
        self._pace = Pace(self._warm_up())
        # those of images and sound leave the interpreter to others while they decode
        self._readers = ThreadPoolExecutor(os.cpu_count(), "read") if predictor.DECODES else None
        self._thread = threading.Thread(target=self._work, name="model", daemon=True)
        self._thread.start()

    def waiting(self) -> int:
        """Inputs that wait to be computed."""
        return self._reading + len(self._queue)

    def stalled(self) -> str | None:
        """Why it cannot work any more; a batch that takes long is none, unless it hangs."""
        if not self._thread.is_alive():
            return STOPPED
        if self._pace.elapsed() > self._hung_seconds:
            return HUNG
        return NO_MEMORY if self._failures >= OUT_OF_MEMORY_AGAIN else None

    async def predict(
        self, inputs: Sequence[Any], options: Mapping[str, Any], deadline: float
    ) -> list[Any]:
        """One output for each input; see `Runner`."""
        self._admit(len(inputs), deadline)
        reads = await self._read(inputs, deadline)
        call = Call(asyncio.get_running_loop().create_future(), len(reads), deadline)
        now, length = time.monotonic(), self._predictor.length
        self._queue.put([Item(read, length(read), call, i, now) for i, read in enumerate(reads)])
        timer = call.future.get_loop().call_later(deadline - now, self._expire, call)
        try:
            outputs = await call.future
            record("queue", now, call.begun)
            record("compute", call.begun, time.monotonic())
            return outputs
        finally:
            timer.cancel()
            if not call.future.done() or call.future.cancelled() or call.future.exception():
                self._drop(call, "cancelled")

    def close(self) -> None:
        """Take no more work, and drop what waits."""
        for item in self._queue.close():
            item.call.settle(item.index, unavailable("draining", "The service stops."))
        if self._readers:
            self._readers.shutdown(wait=False, cancel_futures=True)

    def _admit(self, count: int, deadline: float) -> None:
        """Refuse at once what would not be done in time; what nobody is before is always tried."""
        if not self._thread.is_alive():
            raise unavailable("stalled", STOPPED)
        waiting = self.waiting()
        if not waiting:
            return
        seconds = self._pace.seconds_for(waiting + count)
        in_time = MARGIN * seconds <= deadline - time.monotonic()
        if waiting + count > self._max_waiting or not in_time:
            raise overloaded(seconds)

    async def _read(self, inputs: Sequence[Any], deadline: float) -> list[Any]:
        read = partial(self._predictor.read, limit=self._limit)
        if self._readers is None:
            return [read(item, number) for number, item in enumerate(inputs, start=1)]
        loop = asyncio.get_running_loop()
        self._reading += len(inputs)
        jobs = [
            loop.run_in_executor(self._readers, read, item, number)
            for number, item in enumerate(inputs, start=1)
        ]
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                return await asyncio.gather(*jobs)
        except TimeoutError:
            self._dropped.labels("deadline").inc(len(inputs))
            raise deadline_exceeded() from None
        except asyncio.CancelledError:
            self._dropped.labels("cancelled").inc(len(inputs))
            raise
        finally:
            for job in jobs:
                job.cancel()
            self._reading -= len(inputs)

    def _expire(self, call: Call) -> None:
        if not call.future.done():
            self._drop(call, "deadline")
            call.future.set_exception(deadline_exceeded())

    def _drop(self, call: Call, reason: str) -> None:
        count = self._queue.discard(call)
        if count:
            self._dropped.labels(reason).inc(count)

    def _warm_up(self) -> float:
        """Compute one input and a full batch, again and again; seconds an input of the latter."""
        seconds = 0.0
        for size in (1, self._batch_size, self._batch_size):
            inputs = [EXAMPLE_INPUTS[i % len(EXAMPLE_INPUTS)] for i in range(size)]
            reads = [self._predictor.read(item, i) for i, item in enumerate(inputs, start=1)]
            begun = time.monotonic()
            self._predictor.run(reads)
            seconds = time.monotonic() - begun
        return seconds / self._batch_size

    def _work(self) -> None:
        """What the model's thread does."""
        while (batch := self._queue.take()) is not None:
            self._pace.begin()
            begun = time.monotonic()
            for item in batch:
                self._metrics.queue_seconds.observe(begun - item.since)
                item.call.begun = item.call.begun or begun
            outcomes = self._outcomes([item.read for item in batch])
            failed = any(getattr(each, "code", "") == "out_of_memory" for each in outcomes)
            self._failures = self._failures + 1 if failed else 0
            self._pace.end(len(batch), is_full=len(self._queue) > 0)
            loop = batch[0].call.future.get_loop()
            try:
                loop.call_soon_threadsafe(_settle, batch, outcomes)
            except RuntimeError:  # the loop is closed: nobody waits any more
                return

    def _outcomes(self, reads: Sequence[Any], is_half: bool = False) -> list[Any]:
        """An output or an exception for each; what does not fit into memory is tried in halves."""
        outputs, is_bad = None, False
        try:
            outputs = attempt(partial(self._compute, reads))
        except Exception as error:
            if len(reads) == 1:
                return [error]
            is_bad = True
        # here the failed attempt's frames are gone, and its tensors with them
        if is_bad:  # one bad input must not fail its neighbours
            return [outcome for read in reads for outcome in self._outcomes([read])]
        if outputs is not None:
            return outputs
        fields = {"inputs": len(reads), "retry": not is_half}
        logger.warning("out of memory", extra={"fields": fields})
        if is_half:
            return [out_of_memory() for _ in reads]
        return [outcome for half in halves(reads) for outcome in self._outcomes(half, is_half=True)]

    def _compute(self, reads: Sequence[Any]) -> list[Any]:
        laps = [time.perf_counter()]
        encoded = self._predictor.encode(reads)
        laps.append(time.perf_counter())
        scores = self._predictor.scores(encoded)
        laps.append(time.perf_counter())
        outputs = self._predictor.outputs(scores)
        laps.append(time.perf_counter())
        self._metrics.batch_size.observe(len(reads))
        self._metrics.preprocess_seconds.observe(laps[1] - laps[0])
        self._metrics.compute_seconds.observe(laps[2] - laps[1])
        self._metrics.postprocess_seconds.observe(laps[3] - laps[2])
        return [each if math.isfinite(each["score"]) else _no_number() for each in outputs]


def _settle(batch: Sequence[Item], outcomes: Sequence[Any]) -> None:
    for item, outcome in zip(batch, outcomes, strict=True):
        item.call.settle(item.index, outcome)


def _no_number() -> ServiceError:
    message = "The model's scores are no finite numbers; its weights may be damaged."
    return ServiceError(500, "not_finite", message)
