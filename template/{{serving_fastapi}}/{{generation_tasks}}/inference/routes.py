"""Routes beside /v1/predict: OpenAI's chat completions and list of models. Yours go here too."""

from __future__ import annotations

import time
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import Response

from .chat import Chat
from .chat_api import (
    ChatChunk,
    ChatRequest,
    ChatResponse,
    ModelCard,
    ModelList,
    OpenAIErrorResponse,
)
from .chat_errors import openai_error
from .direct import answered_by
from .engine import Engine
from .errors import ServiceError
from .settings import ServeSettings

ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": OpenAIErrorResponse, "description": text}
    for status, text in (
        (400, "The request cannot be used"),
        (404, "The model is not served here"),
        (429, "Too much work waits; see Retry-After"),
        (503, "Not ready, or not done by the deadline"),
    )
}
STREAM: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The answer; with `stream` as server-sent events, the last one `[DONE]`",
        "content": {
            "text/event-stream": {
                "schema": {
                    "type": "string",
                    "contentMediaType": "application/json",
                    "contentSchema": ChatChunk.model_json_schema(),
                }
            }
        },
    }
}


def add_routes(app: FastAPI, engine: Engine, settings: ServeSettings) -> None:
    """Add the routes that OpenAI's clients use."""
    chat = Chat(engine, settings.limits)
    app.state.chat = chat.answer  # SageMaker's /invocations takes chats too
    begun = int(time.time())

    async def complete(asked: ChatRequest, request: Request) -> Response:
        return await chat.complete(request, asked)

    app.router.add_api_route(
        "/v1/chat/completions",
        complete,
        methods=["POST"],
        response_model=ChatResponse,
        summary="Go on with a chat, whole or as a stream",
        responses=ERRORS | STREAM,
        route_class_override=answered_by(chat.answer),
    )

    @app.get("/v1/models", summary="The model that is served", responses={503: ERRORS[503]})
    async def models() -> Response:
        try:
            info = engine.runner().info
        except ServiceError as error:
            return openai_error(error)
        card = ModelCard(id=info.name, created=begun, version=info.version, digest=info.digest)
        return Response(ModelList(data=[card]).model_dump_json(), media_type="application/json")
