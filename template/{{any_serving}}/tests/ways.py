"""A way into the model: what every adapter looks like to the tests of the contract."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Result = tuple[Any, str]
"""The answer, or the sentence of the refusal."""

Ask = Callable[[dict[str, Any]], Result]
"""Sends a request in the form of /v1/predict."""
