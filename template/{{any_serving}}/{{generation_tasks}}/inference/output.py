"""What the service gives wherever a model writes text, and the options that a request has."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

# The length also makes pydantic refuse text with lone surrogates, which no tokenizer takes.
Text = Annotated[str, Field(min_length=1)]
MAX_STOP_TEXTS = 4
StopText = Annotated[str, Field(min_length=1, max_length=200)]


class Message(BaseModel):
    """One message of a chat."""

    model_config = ConfigDict(extra="forbid")

    role: Literal["system", "user", "assistant"]
    content: Text


class Options(BaseModel):
    """How the text is generated; the same for all inputs of a request."""

    model_config = ConfigDict(extra="forbid")

    max_new_tokens: int = Field(default=64, ge=1, le=4096)
    temperature: float = Field(
        default=0.0, ge=0.0, le=2.0, allow_inf_nan=False, description="0: the likeliest token"
    )
    top_p: float = Field(
        default=1.0, gt=0.0, le=1.0, description="draw only from the likeliest tokens, of this mass"
    )
    seed: int = Field(default=0, ge=0, lt=2**32)
    stop: list[StopText] = Field(
        default=[], max_length=MAX_STOP_TEXTS, description="texts that end the answer"
    )


class Output(BaseModel):
    """What the model wrote; `finish_reason` is `length` where max_new_tokens cut it off."""

    text: str
    finish_reason: Literal["stop", "length"]
    prompt_tokens: int
    completion_tokens: int


EXAMPLE_OPTIONS: dict[str, Any] = {"max_new_tokens": 32}
WARM_UP_OPTIONS: dict[str, Any] = {"max_new_tokens": 2}
