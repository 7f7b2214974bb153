"""Requests that this task refuses, whatever the way in."""

from __future__ import annotations

from typing import Any

SECRET = "canary-7141"  # pragma: allowlist secret
BAD_INPUTS: dict[str, dict[str, Any]] = {
    "too long": {"inputs": [f"{SECRET} " * 2_000]},
}
