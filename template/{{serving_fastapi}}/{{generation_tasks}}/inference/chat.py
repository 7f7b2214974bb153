"""Answers chats in OpenAI's form, whole or as a stream of server-sent events."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from dataclasses import replace
from typing import Any

from fastapi import Request
from fastapi.responses import Response, StreamingResponse
from pydantic import ValidationError
from pydantic_core import to_json
from starlette.types import Receive, Scope, Send

from .api import ModelInfo
from .chat_api import ChatRequest
from .chat_errors import body, openai_error
from .chat_input import to_input
from .engine import Engine
from .errors import ServiceError
from .fetching import resolve_inputs
from .generation import Asked, Piece, whole_answer
from .incoming import JSON, WhileConnected, deadline_of, require_json
from .project import UserError
from .settings import LimitOptions
from .tracing import describe

logger = logging.getLogger(__name__)

TEMPERATURE = 1.0  # OpenAI's default; /v1/predict has 0
DONE = b"data: [DONE]\n\n"


class Chat:
    """Answers the requests of one application."""

    def __init__(self, engine: Engine, limits: LimitOptions) -> None:
        self._engine = engine
        self._limits = limits

    async def answer(self, request: Request) -> Response:
        """Answer a chat, or say in OpenAI's form why not."""
        try:
            return await self._answer(request)
        except (ServiceError, UserError, ValidationError) as error:
            return openai_error(error)

    async def _answer(self, request: Request) -> Response:
        require_json(request.headers)
        content = await request.body()
        if not content:
            message = 'The body is empty; send JSON such as {"messages": [...]}.'
            raise ServiceError(400, "invalid_json", message)
        return await self.complete(request, ChatRequest.model_validate_json(content))

    async def complete(self, request: Request, chat: ChatRequest) -> Response:
        """Answer a chat that was read. Raises ServiceError and UserError."""
        deadline = deadline_of(request.headers, self._limits.deadline_seconds)
        runner: Any = self._engine.runner()
        head = _head(runner.info, chat.model)
        asked = self._asked(chat)
        describe(runner.info)
        async with WhileConnected(request):  # an image may be elsewhere
            prompts = await resolve_inputs([asked.prompt], self._limits, deadline)
        asked = replace(asked, prompt=prompts[0])
        headers = {"X-Model-Version": runner.info.version}
        if not chat.stream:
            async with WhileConnected(request):
                output = await whole_answer(runner, asked, deadline)
            return Response(_completion(head, output), headers=headers, media_type=JSON)
        with_usage = chat.stream_options is not None and chat.stream_options.include_usage
        pieces = runner.stream(asked, deadline)
        try:
            async with WhileConnected(request):  # an error before the first piece has its status
                first = await anext(pieces)
        except BaseException:
            await pieces.aclose()
            raise
        headers["Cache-Control"] = "no-cache"
        return _Stream(_events(head, first, pieces, with_usage), pieces, headers)

    def _asked(self, chat: ChatRequest) -> Asked:
        characters = sum(
            len(message.text) + sum(map(len, message.images)) for message in chat.messages
        )
        if characters > self._limits.max_input_characters:
            message = (
                f"The messages have {characters} characters; "
                f"at most {self._limits.max_input_characters}."
            )
            raise ServiceError(400, "input_too_long", message)
        return Asked(
            prompt=to_input(chat.messages),
            max_new_tokens=chat.new_tokens,
            temperature=TEMPERATURE if chat.temperature is None else chat.temperature,
            top_p=1.0 if chat.top_p is None else chat.top_p,
            seed=secrets.randbits(32) if chat.seed is None else chat.seed,
            stop=tuple(chat.stop),
        )


class _Stream(StreamingResponse):
    """Ends the work when the client leaves, at whatever event it was."""

    def __init__(
        self,
        events: AsyncIterator[bytes],
        pieces: AsyncGenerator[Piece, None],
        headers: Mapping[str, str],
    ) -> None:
        super().__init__(events, headers=headers, media_type="text/event-stream")
        self._pieces = pieces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events."""
        async with aclosing(self._pieces):
            await super().__call__(scope, receive, send)


def _head(info: ModelInfo, model: str | None) -> dict[str, Any]:
    """What all answers and events begin with. Raises ServiceError for another model."""
    if model is not None and model not in (info.name, info.version, info.digest):
        message = "This model is not served here; /v1/models names the one that is."
        raise ServiceError(404, "model_not_found", message)
    return {
        "id": f"chatcmpl-{secrets.token_hex(12)}",
        "created": int(time.time()),
        "model": info.name,
        "system_fingerprint": info.digest,
    }


def _completion(head: dict[str, Any], output: dict[str, Any]) -> bytes:
    message = {"role": "assistant", "content": output["text"], "refusal": None}
    choice = {
        "index": 0,
        "message": message,
        "finish_reason": output["finish_reason"],
        "logprobs": None,
    }
    usage = _usage(output["prompt_tokens"], output["completion_tokens"])
    return to_json(head | {"object": "chat.completion", "choices": [choice], "usage": usage})


def _usage(prompt_tokens: int, completion_tokens: int) -> dict[str, int]:
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
    }


async def _events(
    head: dict[str, Any], first: Piece, pieces: AsyncGenerator[Piece, None], with_usage: bool
) -> AsyncGenerator[bytes, None]:
    head = head | {"object": "chat.completion.chunk"}
    if with_usage:
        head["usage"] = None
    yield _event(head, {"role": "assistant", "content": ""})
    try:
        piece = first
        while True:
            if piece.text:
                yield _event(head, {"content": piece.text})
            if piece.finish_reason:
                break
            piece = await anext(pieces)
    except (ServiceError, UserError) as error:
        yield b"data: " + openai_error(error).body + b"\n\n"
        return
    except Exception:
        logger.exception("a stream failed")
        message = "The answer failed; the service's log has the reason under this id."
        yield _data(body(ServiceError(500, "internal_error", message)))
        return
    yield _event(head, {}, piece.finish_reason)
    if with_usage:
        usage = _usage(piece.prompt_tokens, piece.completion_tokens)
        yield _data(head | {"choices": [], "usage": usage})
    yield DONE


def _event(head: dict[str, Any], delta: dict[str, str], finish_reason: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason, "logprobs": None}
    return _data(head | {"choices": [choice]})


def _data(content: dict[str, Any]) -> bytes:
    return b"data: " + to_json(content) + b"\n\n"
