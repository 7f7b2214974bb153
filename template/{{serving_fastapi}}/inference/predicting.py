"""One request to predict, whatever route it came by: read, check, compute, answer."""

from __future__ import annotations

from fastapi import Request
from fastapi.responses import Response
from pydantic import ValidationError
from pydantic_core import to_json

from .api import PredictRequest
from .engine import Engine
from .errors import ServiceError
from .fetching import resolve_inputs
from .incoming import JSON, WhileConnected, deadline_of, require_json
from .schema import characters
from .settings import LimitOptions
from .tracing import describe
from .validation import EMPTY, explain, is_malformed


class Prediction:
    """Answers requests of the form of `PredictRequest`."""

    def __init__(self, engine: Engine, limits: LimitOptions) -> None:
        self._engine = engine
        self._limits = limits

    async def from_json(self, request: Request) -> Response:
        """Answer a request whose body is JSON. Raises ServiceError and UserError."""
        require_json(request.headers)
        body = await request.body()
        if not body:
            raise ServiceError(422, "invalid_request", EMPTY)
        try:
            asked = PredictRequest.model_validate_json(body)
        except ValidationError as error:
            status = 400 if is_malformed(error) else 422
            raise ServiceError(status, "invalid_request", explain(error, PredictRequest)) from None
        return await self.answer(request, asked)

    async def answer(self, request: Request, asked: PredictRequest) -> Response:
        """Answer what has been read. Raises ServiceError and UserError."""
        deadline = deadline_of(request.headers, self._limits.deadline_seconds)
        runner = self._engine.runner()
        _check(asked, self._limits)
        plain = asked.model_dump()
        describe(runner.info)
        async with WhileConnected(request):
            inputs = await resolve_inputs(plain["inputs"], self._limits, deadline)
            outputs = await runner.predict(inputs, plain["options"], deadline)
        answer = {"outputs": outputs, "model": runner.info}
        headers = {"X-Model-Version": runner.info.version}
        return Response(to_json(answer), media_type=JSON, headers=headers)


def _check(asked: PredictRequest, limits: LimitOptions) -> None:
    count = len(asked.inputs)
    if count > limits.max_inputs:
        message = f"There are {count} inputs; one request takes at most {limits.max_inputs}."
        raise ServiceError(422, "too_many_inputs", message)
    for i, item in enumerate(asked.inputs):
        length = characters(item)
        if length > limits.max_input_characters:
            message = f"inputs[{i}] has {length} characters; at most {limits.max_input_characters}."
            raise ServiceError(422, "input_too_long", message)
