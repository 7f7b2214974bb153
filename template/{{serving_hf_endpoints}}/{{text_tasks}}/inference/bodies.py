"""What the container of Inference Endpoints hands over, in the form of the schema."""

from __future__ import annotations

from typing import Any

from .project import UserError


def as_input(value: Any) -> Any:
    """JSON as it is; raises UserError for a body that was an image or a sound file."""
    if isinstance(value, bytes) or hasattr(value, "convert"):
        raise UserError("The body is a file; send JSON with Content-Type: application/json.")
    return value
