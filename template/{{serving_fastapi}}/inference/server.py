"""The process around the application: it drains on SIGTERM, and ends if the model cannot load."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from types import FrameType

import uvicorn

from .engine import Engine
from .errors import ServiceError
from .project import ConfigError

logger = logging.getLogger(__name__)

HAND_OVER_SECONDS = 1.0  # at most, for clients that have connected and not yet asked
LAST_BODY_SECONDS = 1.0  # after which a client that stopped in the middle is given up


def listen(host: str, port: int) -> socket.socket:
    """Take the address. Raises ConfigError where that cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        reason = (error.strerror or str(error)).partition(" (while")[0]  # Python adds the address
        raise ConfigError(
            f"cannot listen on {host}:{port} ({reason}); choose another --host or --port"
        ) from None


class Server(uvicorn.Server):
    """Uvicorn whose end loses no request.

    First SIGTERM: /readyz turns 503 while requests are still answered, for `drain_seconds`, so that
    a load balancer can look elsewhere; then no more are accepted and the running ones finish.
    Ctrl-C or a second signal skips the wait, a third one the running requests. SIGHUP looks up the
    model again: an alias may have moved.
    """

    def __init__(self, config: uvicorn.Config, engine: Engine, drain_seconds: float) -> None:
        super().__init__(config)
        self._engine = engine
        self._drain_seconds = drain_seconds
        self._stop_at = float("inf")
        self._announced = False

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Note the signal; `on_tick` acts on it."""
        if self.should_exit:
            self.force_exit = True
        elif self._engine.draining or sig != signal.SIGTERM:
            self._engine.draining = self.should_exit = True
        else:
            self._engine.draining = True
            self._stop_at = time.monotonic() + self._drain_seconds

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to answer, and to reload on SIGHUP: in a terminal that means that it was closed."""
        await super().startup(sockets)
        in_terminal = sys.stdin is not None and sys.stdin.isatty()
        if hasattr(signal, "SIGHUP") and not in_terminal:
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._reload)

    def _reload(self) -> None:
        self._reloading = asyncio.create_task(self._try_to_reload())

    async def _try_to_reload(self) -> None:
        try:
            await self._engine.reload()
        except ServiceError as error:
            logger.warning("SIGHUP: %s", error.detail)

    async def on_tick(self, counter: int) -> bool:
        """Tell, ten times a second, whether it is time to stop."""
        if self._engine.draining and not self._announced:
            self._announced = True
            logger.info("draining: /readyz says 503, requests in hand are finished")
        stop = await super().on_tick(counter)
        return stop or self._engine.failure is not None or time.monotonic() >= self._stop_at

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop accepting, and give what was just accepted the time to send its request."""
        self.should_exit = True
        loop = asyncio.get_running_loop()
        # the system resets whoever still stands in line when the listener is closed
        pending = [client for listener in sockets or [] for client in _accept_all(listener)]
        for server in self.servers:
            server.close()
        for client in pending:
            await loop.connect_accepted_socket(self._protocol, client)
        await asyncio.sleep(HAND_OVER_SECONDS / 10)
        give_up = time.monotonic() + HAND_OVER_SECONDS
        while self._silent() and time.monotonic() < give_up:
            await asyncio.sleep(HAND_OVER_SECONDS / 10)
        loop.call_later(LAST_BODY_SECONDS, self._give_up_half_sent)
        await super().shutdown(sockets)

    def _protocol(self) -> asyncio.Protocol:
        """One connection, as uvicorn makes it."""
        state = self.lifespan.state
        make: Callable[..., asyncio.Protocol] = self.config.http_protocol_class
        return make(config=self.config, server_state=self.server_state, app_state=state)

    def _silent(self) -> bool:
        """Whether somebody has connected and not yet asked for anything."""
        connections = self.server_state.connections
        return any(getattr(connection, "cycle", None) is None for connection in connections)

    def _give_up_half_sent(self) -> None:
        """Uvicorn ends connections that are idle, and waits for those whose body never comes."""
        for connection in list(self.server_state.connections):
            cycle = getattr(connection, "cycle", None)
            if cycle is not None and cycle.more_body and connection.transport:
                connection.transport.close()


def _accept_all(listener: socket.socket) -> Iterator[socket.socket]:
    while True:
        try:
            client, _ = listener.accept()
        except OSError:  # nobody stands in line any more
            return
        client.setblocking(False)
        yield client
