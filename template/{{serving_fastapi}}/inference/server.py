"""The process around the application: it drains on SIGTERM, and ends if the model cannot load."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import time
from types import FrameType

import uvicorn

from .engine import Engine
from .project import ConfigError

logger = logging.getLogger(__name__)

HAND_OVER_SECONDS = 0.2


def listen(host: str, port: int) -> socket.socket:
    """Take the address. Raises ConfigError where that cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConfigError(
            f"cannot listen on {host}:{port} ({reason}); choose another --host or --port"
        ) from None


class Server(uvicorn.Server):
    """Uvicorn whose end loses no request.

    First SIGTERM: /readyz turns 503 while requests are still answered, for `drain_seconds`, so that
    a load balancer can look elsewhere; then no more are accepted and the running ones finish.
    Ctrl-C or a second signal skips the wait, a third one the running requests.
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
        for server in self.servers:
            server.close()
        await asyncio.sleep(HAND_OVER_SECONDS)
        await super().shutdown(sockets)
