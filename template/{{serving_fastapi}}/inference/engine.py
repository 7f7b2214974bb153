"""The model and its one worker thread: loading, warm-up, and a bounded line of requests."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Protocol, TypeVar

from .errors import unavailable
from .project import UserError

logger = logging.getLogger(__name__)

T = TypeVar("T")


class Predictor(Protocol):
    """All that the service asks of a model."""

    name: str
    version: str

    @property
    def predict(self) -> Callable[..., list[Any]]:
        """`predict(inputs, **options)`: one output for each input; UserError for a bad one."""


class Engine:
    """Runs one model off the event loop.

    A single thread, because a second prediction at the same time only competes for the device.
    """

    def __init__(self, load: Callable[[], Predictor], max_waiting: int) -> None:
        self.predictor: Predictor | None = None
        self.failure: str | None = None
        """Why the model could not be loaded."""
        self.draining = False
        self.busy = False
        """Whether the thread is at work now."""
        self._load = load
        self._max_waiting = max_waiting
        self._pending = 0
        self._last_seconds = 1.0
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="model")

    async def start(self, inputs: Sequence[Any], options: Mapping[str, Any]) -> None:
        """Load the model and predict once; `failure` says in a sentence why that did not work."""
        begun = time.monotonic()
        try:
            predictor = await self._in_thread(self._load)
            await self._in_thread(partial(predictor.predict, inputs, **options))
        except UserError as error:
            self.failure = str(error)
        except Exception as error:
            logger.exception("loading failed")
            self.failure = f"the model could not be loaded ({type(error).__name__}: {error})"
        else:
            self.predictor = predictor
            seconds = round(time.monotonic() - begun, 2)
            fields = {"model": predictor.name, "version": predictor.version, "seconds": seconds}
            logger.info("ready", extra={"fields": fields})

    def ready_predictor(self) -> Predictor:
        """Return the loaded predictor. Raises ServiceError (503) before it is ready."""
        if self.predictor is None:
            raise unavailable("loading", "The model is still loading; ask /readyz.")
        return self.predictor

    async def predict(self, inputs: Sequence[Any], options: Mapping[str, Any]) -> list[Any]:
        """Wait for the model and predict. Raises ServiceError (503) when the line is full."""
        predictor = self.ready_predictor()
        if self._pending > self._max_waiting:
            wait_s = min(60, max(1, math.ceil(self._last_seconds * self._pending)))
            raise unavailable("overloaded", "Too many requests wait; try again later.", wait_s)
        self._pending += 1
        try:
            return await self._in_thread(partial(self._timed, predictor, inputs, options))
        finally:
            self._pending -= 1

    def _timed(
        self, predictor: Predictor, inputs: Sequence[Any], options: Mapping[str, Any]
    ) -> list[Any]:
        begun = time.monotonic()
        try:
            return predictor.predict(inputs, **options)
        finally:
            self._last_seconds = time.monotonic() - begun

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._run, work)

    def _run(self, work: Callable[[], T]) -> T:
        self.busy = True
        try:
            return work()
        finally:
            self.busy = False

    def close(self) -> None:
        """Drop what still waits; the thread ends after what it is doing."""
        self._thread.shutdown(wait=False, cancel_futures=True)
