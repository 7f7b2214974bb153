"""Requests that this task refuses, whatever the way in."""

from __future__ import annotations

from typing import Any

from inference.schema import EXAMPLE_INPUTS

SECRET = "canary-7141"  # pragma: allowlist secret
BAD_INPUTS: dict[str, dict[str, Any]] = {
    "no file": {"inputs": [SECRET]},
    "a file of another kind": {"inputs": ["Y2FuYXJ5LTcxNDE="]},
    "a cut file": {"inputs": [EXAMPLE_INPUTS[0][:40]]},
}
