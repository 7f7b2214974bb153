"""What the service takes for this task, an image and a question, with examples."""

from __future__ import annotations

from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from .output import Message, Text


class Input(BaseModel):
    """An image, and a question or a chat about it; the first user message shows the image."""

    model_config = ConfigDict(extra="forbid")

    image: Text = Field(description="the file in base64, or a data URL")
    text: Text | None = None
    messages: list[Message] | None = Field(default=None, min_length=1)

    @model_validator(mode="after")
    def _asks_once(self) -> Self:
        if (self.text is None) == (self.messages is None):
            raise ValueError("give either `text` or `messages`")
        return self


# a digit of 8 by 8 pixels in black and white, as a BMP file
_IMAGE = (
    "Qk1eAAAAAAAAAD4AAAAoAAAACAAAAAgAAAABAAEAAAAAACAAAADEDgAAxA4AAAIAAAACAAAAAAAAAP///wAcAAAA"
    "PAAAADgAAAA4AAAAOAAAADgAAAAgAAAAGAAAAA=="
)
EXAMPLE_INPUTS: list[Any] = [
    {"image": _IMAGE, "text": "What is in the image?"},
    {"image": _IMAGE, "messages": [{"role": "user", "content": "Which digit is it?"}]},
]
EXAMPLE_OUTPUTS: list[Any] = [
    {"text": "A digit.", "finish_reason": "stop", "prompt_tokens": 31, "completion_tokens": 4},
    {"text": "A 1.", "finish_reason": "stop", "prompt_tokens": 30, "completion_tokens": 4},
]


def characters(item: Input) -> int:
    """Length of one input, its image in base64."""
    asked = item.text or "".join(message.content for message in item.messages or [])
    return len(item.image) + len(asked)
