"""Serve a trained model.

python -m inference --model models/<run>/final --host 127.0.0.1 --port 8000
"""

from __future__ import annotations

import logging
import os
import sys

import uvicorn
from dotenv import load_dotenv

from .app import create_app
from .auth import parse_admin_keys, parse_api_keys
from .connection import Connection
from .engine import Engine
from .logs import configure_logging
from .project import UserError, run
from .server import Server, listen
from .settings import ServeSettings, load_settings

logger = logging.getLogger("inference")

LOOPBACK = {"127.0.0.1", "::1", "localhost"}


def main() -> int:
    """Run the service until it is told to stop. Raises UserError when it cannot serve."""
    load_dotenv(".env")  # the real environment wins
    settings = load_settings()
    api_keys = parse_api_keys(os.environ.get("API_KEYS", ""))
    admin_keys = parse_admin_keys(os.environ.get("ADMIN_KEYS", ""), api_keys)
    configure_logging(settings.service.log_level)
    if not api_keys and settings.service.host not in LOOPBACK:
        logger.warning("other machines can reach this service and API_KEYS is not set")
    return serve(settings, api_keys, admin_keys)


def serve(
    settings: ServeSettings, api_keys: tuple[str, ...] = (), admin_keys: tuple[str, ...] = ()
) -> int:
    """Answer until a signal ends it, which ends the process. Raises UserError."""
    service = settings.service
    # The model gives the interpreter up at every operation, and after 5 ms (Python's default) of
    # waiting gets it back from a busy event loop: a batch of 30 ms would take ten times as long.
    sys.setswitchinterval(0.0005)
    app = create_app(settings, api_keys, admin_keys)
    engine: Engine = app.state.engine
    Connection.head_seconds = settings.limits.body_seconds
    Connection.reading_seconds = settings.limits.deadline_seconds
    config = uvicorn.Config(
        app,
        http=Connection,
        access_log=False,
        proxy_headers=False,  # nothing here asks who the client is
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=settings.end_seconds,
    )
    server = Server(config, engine, service.drain_seconds)
    with listen(service.host, service.port) as listener:
        host, port = listener.getsockname()[:2]
        logger.info("listening", extra={"fields": {"host": host, "port": port}})
        server.run(sockets=[listener])
    if engine.failure is not None:
        raise UserError(engine.failure)
    logger.info("stopped")
    logging.shutdown()
    os._exit(0)  # threads cannot be ended, and Python would wait for what nobody waits for


if __name__ == "__main__":
    run(main)
