"""What the service takes for this task, a prompt or a chat, with examples."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Discriminator, Field, Tag

from .output import Message, Text


def _kind(item: Any) -> str | None:
    if isinstance(item, str):
        return "prompt"
    return "messages" if isinstance(item, list) else None


Input = Annotated[
    Annotated[Text, Tag("prompt")] | Annotated[list[Message], Field(min_length=1), Tag("messages")],
    Discriminator(
        _kind,
        custom_error_type="input_type",
        custom_error_message="Each input is a string or a list of messages",
    ),
]

EXAMPLE_INPUTS: list[Any] = [
    "How many minutes are 3 hours?",
    [{"role": "user", "content": "Sort from A to Z: willow, amber, kettle"}],
]
EXAMPLE_OUTPUTS: list[Any] = [
    {
        "text": "3 hours are 180 minutes.",
        "finish_reason": "stop",
        "prompt_tokens": 11,
        "completion_tokens": 7,
    },
    {
        "text": "amber, kettle, willow",
        "finish_reason": "stop",
        "prompt_tokens": 18,
        "completion_tokens": 8,
    },
]


def characters(item: str | list[Message]) -> int:
    """Length of one input."""
    return len(item) if isinstance(item, str) else sum(len(message.content) for message in item)
