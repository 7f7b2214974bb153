"""What a chat is answered, against the types of OpenAI's own client, which hardly checks them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from openai.types import Model
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from pydantic import BaseModel

from inference.chat_api import (
    AnswerMessage,
    ChatChunk,
    ChatResponse,
    Choice,
    ChunkChoice,
    Delta,
    ModelCard,
    Usage,
)

HEAD: dict[str, Any] = {"id": "chatcmpl-1", "created": 1, "model": "m", "system_fingerprint": "f"}
USAGE = Usage(prompt_tokens=3, completion_tokens=2, total_tokens=5)
MESSAGE = AnswerMessage(content="4711")
SHA = f"sha256:{'01234567' * 8}"


@pytest.mark.parametrize(
    ("ours", "theirs", "own"),
    [
        (
            ChatResponse(
                **HEAD, choices=[Choice(message=MESSAGE, finish_reason="length")], usage=USAGE
            ),
            ChatCompletion,
            set(),
        ),
        (
            ChatChunk(**HEAD, choices=[ChunkChoice(delta=Delta(role="assistant", content=""))]),
            ChatCompletionChunk,
            set(),
        ),
        (
            ChatChunk(**HEAD, choices=[ChunkChoice(delta=Delta(), finish_reason="stop")]),
            ChatCompletionChunk,
            set(),
        ),
        (ChatChunk(**HEAD, choices=[], usage=USAGE), ChatCompletionChunk, set()),
        # which weights answer is told besides
        (ModelCard(id="m", created=1, version="0123", digest=SHA), Model, {"version", "digest"}),
    ],
)
def test_answers_are_what_the_client_expects(
    ours: BaseModel, theirs: type[BaseModel], own: set[str]
) -> None:
    parsed = theirs.model_validate_json(ours.model_dump_json(), strict=True)
    assert set(unknown(parsed)) == own


def unknown(parsed: BaseModel) -> Iterator[str]:
    """Names of fields at any depth that the type does not have."""
    yield from parsed.model_extra or ()
    for name in type(parsed).model_fields:
        value = getattr(parsed, name)
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, BaseModel):
                yield from unknown(each)
