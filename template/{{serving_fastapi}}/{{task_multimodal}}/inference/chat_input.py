"""From a chat in OpenAI's schema to an input of /v1/predict."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .chat_api import ChatMessage
from .project import UserError


def to_input(messages: Sequence[ChatMessage]) -> Any:
    """The image and the messages about it. Raises UserError unless it is where training has it."""
    asking = next((message for message in messages if message.role == "user"), None)
    images = [url for message in messages for url in message.images]
    if asking is None or len(images) != 1 or images != asking.images:
        raise UserError(
            f"there are {len(images)} images; the model is asked about one image, which is a part "
            "of the first user message"
        )
    return {"image": images[0], "messages": [message.plain() for message in messages]}
