"""A running service, and OpenAI's own client to ask it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import openai
from test_service import Service


@contextmanager
def running(model: Path, folder: Path) -> Iterator[Service]:
    """The service of `model`, ready; it logs to `folder`."""
    service = Service(model, folder / "log.jsonl")
    try:
        service.wait_until_ready()
        yield service
    finally:
        service.process.kill()
        service.process.wait()


def client_of(service: Service) -> openai.OpenAI:
    """A client that tries once."""
    key = "none"  # the client wants one
    url = f"http://127.0.0.1:{service.port}/v1"
    return openai.OpenAI(base_url=url, api_key=key, max_retries=0)
