"""Files as the container of Inference Endpoints hands them over, in the form of the schema."""

from __future__ import annotations

import base64
import io
from typing import Any


def as_input(value: Any) -> Any:
    """Base64 of a file: a body of type audio/… comes as bytes, image/… as a PIL image."""
    if hasattr(value, "convert") and hasattr(value, "save"):
        file = io.BytesIO()
        # loses nothing; which side is up stays with the picture
        value.save(file, "PNG", compress_level=1, exif=value.getexif())
        value = file.getvalue()
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value
