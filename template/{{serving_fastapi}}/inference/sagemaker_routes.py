"""What SageMaker asks of a container: `GET /ping` and `POST /invocations`, on the same core."""

from __future__ import annotations

import base64
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import Response
from pydantic import ValidationError
from pydantic_core import from_json

from .api import PredictRequest
from .engine import Engine
from .errors import ServiceError
from .fetching import KINDS
from .predicting import Prediction
from .validation import explain


def add_sagemaker(app: FastAPI, engine: Engine, prediction: Prediction) -> None:
    """Add both; they are left out of the document, as SageMaker's clients never read it."""

    @app.get("/ping", include_in_schema=False)
    async def ping() -> Response:
        return Response(status_code=503 if engine.problem() else 200)

    @app.post("/invocations", include_in_schema=False)
    async def invocations(request: Request) -> Response:
        kind = request.headers.get("content-type", "").lower()
        if KINDS and kind.startswith(KINDS):
            return await prediction.answer(request, await _one_file(request))
        chat = getattr(app.state, "chat", None)  # of a model that chats
        if chat and await _is_chat(request):
            return await chat(request)
        return await prediction.from_json(request)


async def _one_file(request: Request) -> PredictRequest:
    """The body, an image or a sound as it is, as one input."""
    content: Any = base64.b64encode(await request.body()).decode()
    try:
        return PredictRequest.model_validate({"inputs": [content]})
    except ValidationError as error:
        raise ServiceError(422, "invalid_request", explain(error, PredictRequest)) from None


async def _is_chat(request: Request) -> bool:
    try:
        asked = from_json(await request.body())
    except ValueError:
        return False  # whoever reads it next says what is wrong
    return isinstance(asked, dict) and "messages" in asked
