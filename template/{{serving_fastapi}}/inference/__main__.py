"""Serve a trained model.

python -m inference --model models/<run>/final --host 127.0.0.1 --port 8000
"""

from __future__ import annotations

import logging
import os
from functools import partial

import uvicorn
from dotenv import load_dotenv

from .app import create_app
from .auth import parse_api_keys
from .engine import Engine
from .logs import configure_logging
from .project import UserError, load_predictor, run
from .server import Server, listen
from .settings import load_settings

logger = logging.getLogger("inference")

LOOPBACK = {"127.0.0.1", "::1", "localhost"}


def main() -> int:
    """Run the service until it is told to stop. Raises UserError when it cannot serve."""
    load_dotenv(".env")  # the real environment wins
    settings, model = load_settings()
    service = settings.service
    api_keys = parse_api_keys(os.environ.get("API_KEYS", ""))
    configure_logging(service.log_level)

    app = create_app(settings, partial(load_predictor, model, service.device), api_keys)
    engine: Engine = app.state.engine
    config = uvicorn.Config(
        app,
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=service.shutdown_seconds,
    )
    server = Server(config, engine, service.drain_seconds)
    with listen(service.host, service.port) as listener:
        host, port = listener.getsockname()[:2]
        logger.info("listening", extra={"fields": {"host": host, "port": port}})
        if not api_keys and service.host not in LOOPBACK:
            logger.warning("other machines can reach this service and API_KEYS is not set")
        server.run(sockets=[listener])
    if engine.failure is not None:
        raise UserError(engine.failure)
    logger.info("stopped")
    if engine.busy:
        os._exit(0)  # a thread cannot be ended, and Python would wait for what nobody waits for
    return 0


if __name__ == "__main__":
    run(main)
