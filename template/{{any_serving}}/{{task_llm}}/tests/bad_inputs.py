"""Requests that this task refuses, whatever the way in."""

from __future__ import annotations

from typing import Any

from inference.schema import EXAMPLE_INPUTS

SECRET = "canary-7141"  # pragma: allowlist secret
BAD_INPUTS: dict[str, dict[str, Any]] = {
    "too long": {"inputs": [f"{SECRET} " * 2_000]},
    "an option out of range": {"inputs": EXAMPLE_INPUTS, "options": {"temperature": 99}},
    "a role that is none": {"inputs": [[{"role": SECRET, "content": "a"}]]},
}
