"""Refusals that cost next to nothing, for when there are many of them."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Collection
from random import getrandbits

from fastapi import FastAPI
from starlette.types import Receive, Scope, Send

from .engine import Engine
from .errors import overloaded
from .metrics import Metrics

TICK_SECONDS = 0.05
LAG_SECONDS = 0.2  # of the event loop, which halve what may wait for the model


class Gate:
    """Turns requests away, before body and key are read, while the model's queue is full.

    At twice the load that the model can bear each of its answers comes with a refusal; what those
    take is taken from the answers, as both need the processor. Full is the queue with less in it
    the longer the event loop is behind: what then waits in sockets is in no queue.
    """

    def __init__(
        self, engine: Engine, max_waiting: int, paths: Collection[str], metrics: Metrics
    ) -> None:
        self._engine = engine
        self._max_waiting = max_waiting
        refusal = overloaded()
        self._body = bytes(refusal.response().body)
        self._headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(self._body)).encode()),
            (b"retry-after", b"1"),
        ]
        self._counts = {
            path: (metrics.requests.labels(path, 429), metrics.errors.labels(refusal.code))
            for path in paths
        }
        self._seconds = {path: metrics.request_seconds.labels(path) for path in paths}
        self._lag = 0.0
        self._due = float("inf")
        self._ids = map(f"{getrandbits(64):016x}{{:016x}}".format, itertools.count())

    def watch(self) -> None:
        """Measure, again and again, how late the event loop comes to its work."""
        self._due = time.monotonic() + TICK_SECONDS
        asyncio.get_running_loop().call_later(TICK_SECONDS, self._tick)

    def _tick(self) -> None:
        self._lag = time.monotonic() - self._due
        self.watch()

    def is_shut(self, scope: Scope) -> bool:
        """Whether this request is to be turned away."""
        return (
            scope["type"] == "http"
            and scope["method"] == "POST"
            and scope["path"] in self._counts
            and self._is_full()
        )

    def _is_full(self) -> bool:
        waiting = self._engine.waiting()
        if not waiting:
            return False
        lag = max(0.0, self._lag, time.monotonic() - self._due)
        return waiting * (1 + lag / LAG_SECONDS) >= self._max_waiting

    async def refuse(self, scope: Scope, send: Send) -> None:
        """Answer 429."""
        for counter in self._counts[scope["path"]]:
            counter.inc()
        self._seconds[scope["path"]].observe(0.0)
        headers = [*self._headers, (b"x-request-id", next(self._ids).encode())]
        if self._engine.draining:
            headers.append((b"connection", b"close"))  # the next goes elsewhere
        await send({"type": "http.response.start", "status": 429, "headers": headers})
        await send({"type": "http.response.body", "body": self._body})


class GatedFastAPI(FastAPI):
    """FastAPI with a gate before all its layers."""

    gate: Gate | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse, or go on."""
        if self.gate and self.gate.is_shut(scope):
            await self.gate.refuse(scope, send)
        else:
            await super().__call__(scope, receive, send)
