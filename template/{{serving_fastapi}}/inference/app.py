"""The application: its routes, put together from its parts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI

from .api import ErrorResponse, Health, ModelInfo, PredictRequest, PredictResponse, Readiness
from .auth import ApiKeyMiddleware
from .engine import Engine, Predictor
from .errors import ServiceError, add_error_handlers, unavailable
from .middleware import BodyLimitMiddleware, RequestMiddleware
from .schema import EXAMPLE_INPUTS, WARM_UP_OPTIONS, characters
from .settings import LimitOptions, ServeSettings

ERRORS: dict[int | str, dict[str, Any]] = {
    400: {"model": ErrorResponse, "description": "The body is not JSON"},
    401: {"model": ErrorResponse, "description": "No known API key"},
    413: {"model": ErrorResponse, "description": "The body is too large"},
    422: {"model": ErrorResponse, "description": "An input cannot be used"},
    500: {"model": ErrorResponse, "description": "The prediction failed"},
    503: {"model": ErrorResponse, "description": "Not ready, or too many requests wait"},
}


def create_app(
    settings: ServeSettings,
    predictor_factory: Callable[[], Predictor],
    api_keys: tuple[str, ...] = (),
) -> FastAPI:
    """Build the service; `predictor_factory` is called in the model's thread after the start.

    `app.state.engine` is the model's side of it. Without `api_keys` everybody may use it.
    """
    engine = Engine(predictor_factory, settings.limits.max_waiting_requests)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        loading = asyncio.create_task(engine.start(EXAMPLE_INPUTS[:1], WARM_UP_OPTIONS))
        yield
        loading.cancel()
        engine.close()

    app = FastAPI(title="Prediction service", lifespan=lifespan)
    app.state.engine = engine
    add_error_handlers(app)
    # The last one added is the outermost.
    app.add_middleware(BodyLimitMiddleware, max_bytes=settings.limits.max_body_bytes)
    app.add_middleware(ApiKeyMiddleware, keys=api_keys)
    app.add_middleware(
        RequestMiddleware,
        access_log=settings.service.access_log,
        draining=lambda: engine.draining,
    )

    @app.get("/healthz", summary="Is the process alive?")
    async def healthz() -> Health:
        return Health()

    @app.get("/readyz", summary="Can it predict?", responses={503: ERRORS[503]})
    async def readyz() -> Readiness:
        predictor = engine.ready_predictor()
        if engine.draining:
            raise unavailable("draining", "The service is about to stop.")
        return Readiness(model=_info(predictor))

    @app.post("/v1/predict", summary="Predict one output for each input", responses=ERRORS)
    async def predict(request: PredictRequest) -> PredictResponse:
        predictor = engine.ready_predictor()
        _check(request, settings.limits)
        inputs = request.model_dump()["inputs"]
        outputs = await engine.predict(inputs, request.options.model_dump())
        return PredictResponse(outputs=outputs, model=_info(predictor))

    return app


def _check(request: PredictRequest, limits: LimitOptions) -> None:
    count = len(request.inputs)
    if count > limits.max_inputs:
        message = f"There are {count} inputs; one request takes at most {limits.max_inputs}."
        raise ServiceError(422, "too_many_inputs", message)
    for i, item in enumerate(request.inputs):
        length = characters(item)
        if length > limits.max_input_characters:
            message = f"inputs[{i}] has {length} characters; at most {limits.max_input_characters}."
            raise ServiceError(422, "input_too_long", message)


def _info(predictor: Predictor) -> ModelInfo:
    return ModelInfo(name=predictor.name, version=predictor.version)
