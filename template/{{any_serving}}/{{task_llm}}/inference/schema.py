"""What the service takes and gives for this task: a prompt or a chat in, text out."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

# The length also makes pydantic refuse text with lone surrogates, which no tokenizer takes.
Text = Annotated[str, Field(min_length=1)]


class Message(BaseModel):
    """One message of a chat."""

    model_config = ConfigDict(extra="forbid")

    role: Literal["system", "user", "assistant"]
    content: Text


class Options(BaseModel):
    """How the text is generated; the same for all inputs of a request."""

    model_config = ConfigDict(extra="forbid")

    max_new_tokens: int = Field(default=64, ge=1, le=4096)
    temperature: float = Field(default=0.0, ge=0.0, le=2.0, description="0: the likeliest token")
    seed: int = Field(default=0, ge=0, lt=2**32)


class Output(BaseModel):
    """What the model wrote; `finish_reason` is `length` where max_new_tokens cut it off."""

    text: str
    finish_reason: Literal["stop", "length"]
    prompt_tokens: int
    completion_tokens: int


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
EXAMPLE_OPTIONS: dict[str, Any] = {"max_new_tokens": 32}
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
WARM_UP_OPTIONS: dict[str, Any] = {"max_new_tokens": 2}


def characters(item: str | list[Message]) -> int:
    """Length of one input."""
    return len(item) if isinstance(item, str) else sum(len(message.content) for message in item)
