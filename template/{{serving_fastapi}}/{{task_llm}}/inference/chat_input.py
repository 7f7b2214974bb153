"""From a chat in OpenAI's schema to an input of /v1/predict."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .chat_api import ChatMessage
from .project import UserError


def to_input(messages: Sequence[ChatMessage]) -> Any:
    """The messages as text. Raises UserError for an image."""
    if any(message.images for message in messages):
        raise UserError("this model reads text only; leave the images out")
    return [message.plain() for message in messages]
