"""Two ways to load a service, for a bounded time.

Closed loop: so many clients, each of which asks again once it has its answer. Open loop: requests
come at random moments (Poisson) at a given rate, however slow the answers are, and a latency counts
from the moment the request was due: a service that stalls cannot hide its queue.
"""

from __future__ import annotations

import asyncio
import random
import statistics
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from .client import Answer, Connection, Target

BACK_OFF_SECONDS = 0.05  # a refused client of the closed loop; without it, it asks in a frenzy
PROBE_SECONDS = 0.05
GRACE_SECONDS = 1.0  # beyond the deadline, before a request is given up
MAX_CONNECTIONS = 4000


@dataclass(frozen=True)
class Plan:
    """What all requests of a test have in common."""

    target: Target
    messages: Sequence[bytes]
    """Whole requests; one is drawn for each turn."""
    deadline: float
    """Seconds after which an answer is of no use."""
    seconds: float
    """How long is measured."""
    warm_up: float = 1.0
    """Seconds before that."""
    disconnects: float = 0.0
    """Share of the requests whose client leaves before the answer."""
    leave_after: float | None = None
    """Seconds until it does; else a random share of the usual latency."""
    read: Callable[[Answer], tuple[float, int] | None] | None = None
    """For streams: the moment of the first token, and how many tokens there were."""
    health: str = "/healthz"
    """Asked twenty times a second meanwhile."""
    seed: int = 0


@dataclass(frozen=True)
class Record:
    """One request; times are of `time.perf_counter`."""

    due: float
    late: float
    """Seconds from `due` until the client really sent it."""
    ended: float
    code: str
    """`200`, `429 overloaded`, `left`, `timeout`, `connection`."""
    first_token: float | None = None
    """Seconds from `due`."""
    tokens: int = 0

    @property
    def latency(self) -> float:
        """Seconds."""
        return self.ended - self.due


@dataclass
class Observed:
    """All records of one load; measured is what lies between `begun` and `until`."""

    begun: float
    until: float
    records: list[Record] = field(default_factory=list)
    health: list[float] = field(default_factory=list)
    """Seconds of each answered probe; infinity where there was no answer."""


class Load:
    """One load that is put on the service."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        begun = time.perf_counter() + plan.warm_up
        self.observed = Observed(begun, begun + plan.seconds)
        self._rng = random.Random(plan.seed)
        self._recent: deque[float] = deque(maxlen=101)
        self._idle: list[Connection] = []
        self._open = 0

    async def closed(self, clients: int) -> Observed:
        """`clients` that each wait for their answer."""
        await self._probed(asyncio.gather(*(self._client(n) for n in range(clients))))
        return self.observed

    async def open(self, rate: float) -> Observed:
        """`rate` requests a second on average, at random moments."""
        await self._probed(self._arrivals(rate))
        return self.observed

    async def _client(self, number: int) -> None:
        await asyncio.sleep(self.plan.warm_up / 2 * self._rng.random() if number else 0)
        connection = Connection(self.plan.target)
        try:
            while (due := time.perf_counter()) < self.observed.until:
                record = await self._ask(connection, due)
                if record.code != "200" and record.code != "left":
                    await asyncio.sleep(BACK_OFF_SECONDS)
        finally:
            connection.close()

    async def _arrivals(self, rate: float) -> None:
        running: set[asyncio.Task[None]] = set()
        due = time.perf_counter()
        while (due := due + self._rng.expovariate(rate)) < self.observed.until:
            # a wait is good to a millisecond; what is due by then goes out together
            if (ahead := due - time.perf_counter()) > 0:
                await asyncio.sleep(ahead)
            task = asyncio.create_task(self._arrive(due))
            running.add(task)
            task.add_done_callback(running.discard)
        await asyncio.gather(*running)
        for connection in self._idle:
            connection.close()

    async def _arrive(self, due: float) -> None:
        if not self._idle and self._open >= MAX_CONNECTIONS:
            self.observed.records.append(Record(due, 0.0, time.perf_counter(), "no connection"))
            return
        connection = self._idle.pop() if self._idle else Connection(self.plan.target)
        self._open += 1
        try:
            await self._ask(connection, due)
        finally:
            self._open -= 1
            self._idle.append(connection)

    async def _ask(self, connection: Connection, due: float) -> Record:
        plan = self.plan
        leaves = self._rng.random() < plan.disconnects
        limit = self._patience() if leaves else plan.deadline + GRACE_SECONDS
        message = self._rng.choice(plan.messages)
        begun = time.perf_counter()
        first, tokens = None, 0
        try:
            async with asyncio.timeout(limit):
                answer = await connection.ask(message)
            code = "200" if answer.status == 200 else answer.code
            if plan.read and answer.status == 200 and (found := plan.read(answer)):
                first, tokens = found[0] - due, found[1]
        except TimeoutError:
            code = "left" if leaves else "timeout"
        except (OSError, EOFError, ValueError, asyncio.LimitOverrunError):
            connection.close()
            code = "connection"
        ended = time.perf_counter()
        if code == "200":
            self._recent.append(ended - begun)
        record = Record(due, begun - due, ended, code, first, tokens)
        self.observed.records.append(record)
        return record

    def _patience(self) -> float:
        if self.plan.leave_after is not None:
            return self.plan.leave_after
        usual = statistics.median(self._recent) if self._recent else 0.02
        return max(0.001, usual * self._rng.random())

    async def _probed(self, work: Awaitable[object]) -> None:
        probe = asyncio.create_task(self._probe())
        try:
            await work
        finally:
            probe.cancel()
            await asyncio.gather(probe, return_exceptions=True)

    async def _probe(self) -> None:
        connection = Connection(self.plan.target)
        message = self.plan.target.message("GET", self.plan.health)
        try:
            while time.perf_counter() < self.observed.until:
                begun = time.perf_counter()
                try:
                    async with asyncio.timeout(10):
                        healthy = (await connection.ask(message)).status == 200
                except (OSError, EOFError, ValueError, asyncio.LimitOverrunError):
                    healthy = False
                seconds = time.perf_counter() - begun
                if begun >= self.observed.begun:
                    self.observed.health.append(seconds if healthy else float("inf"))
                await asyncio.sleep(max(0.0, PROBE_SECONDS - seconds))
        finally:
            connection.close()
