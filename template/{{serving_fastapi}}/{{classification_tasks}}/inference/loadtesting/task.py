"""What a load test asks of this kind of task: `/v1/predict`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import Any

from .client import Answer

DEADLINE_SECONDS = 5.0


def add_options(parser: argparse.ArgumentParser) -> None:
    """None of its own."""


def request(inputs: Sequence[Any], options: argparse.Namespace) -> tuple[str, bytes]:
    """Return path and body of one request."""
    return "/v1/predict", json.dumps({"inputs": list(inputs)}).encode()


def read_stream(answer: Answer) -> tuple[float, int] | None:
    """Nothing is streamed."""
    return None
