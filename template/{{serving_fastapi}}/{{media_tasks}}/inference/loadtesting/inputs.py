"""The inputs of a load test that was given none: files of the sample data, or the examples."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

from ..schema import EXAMPLE_INPUTS

SAMPLE = Path("data/sample")
KINDS = {".png", ".jpg", ".jpeg", ".webp", ".wav", ".flac", ".ogg", ".mp3"}
COUNT = 64


def example_inputs() -> list[Any]:
    """The sample's files where an input is a file, else the examples of the API."""
    if not isinstance(EXAMPLE_INPUTS[0], str):
        return EXAMPLE_INPUTS
    files = sorted(path for path in SAMPLE.rglob("*") if path.suffix.lower() in KINDS)[:COUNT]
    return [base64.b64encode(path.read_bytes()).decode() for path in files] or EXAMPLE_INPUTS
