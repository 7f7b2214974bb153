"""The application: its routes, put together from its parts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from .admin import add_admin
from .api import ErrorResponse, Health, PredictRequest, PredictResponse, Readiness
from .auth import Access, ApiKeyMiddleware, document_keys
from .canary import Canary, warm_up_options
from .direct import DirectMiddleware, answered_by
from .engine import Engine
from .errors import add_error_handlers
from .loader import Loader
from .metrics import Metrics
from .middleware import BodyLimitMiddleware, RequestMiddleware
from .overload import Gate, GatedFastAPI
from .page import add_page
from .predicting import Prediction
from .routes import add_routes
from .sagemaker_routes import add_sagemaker
from .settings import ServeSettings
from .tracing import Tracing

PREDICT = "/v1/predict"
ALLOWED_HEADERS = "Authorization X-API-Key Content-Type X-Request-ID X-Request-Timeout".split()
ERRORS: dict[int | str, dict[str, Any]] = {
    400: {"model": ErrorResponse, "description": "The body is not JSON"},
    401: {"model": ErrorResponse, "description": "No known API key"},
    408: {"model": ErrorResponse, "description": "The body took too long to arrive"},
    413: {"model": ErrorResponse, "description": "The body is too large"},
    422: {"model": ErrorResponse, "description": "An input cannot be used"},
    429: {"model": ErrorResponse, "description": "Too much work waits; see Retry-After"},
    500: {"model": ErrorResponse, "description": "The prediction failed"},
    503: {"model": ErrorResponse, "description": "Not ready, or not done by the deadline"},
}


def create_app(
    settings: ServeSettings, api_keys: tuple[str, ...] = (), admin_keys: tuple[str, ...] = ()
) -> FastAPI:
    """Build the service; its model is loaded after the start. `app.state.engine` has it.

    Without `api_keys` everybody may use it; without `admin_keys` nobody may change its model.
    """
    service, limits = settings.service, settings.limits
    metrics = Metrics()
    warm_up = warm_up_options(settings.engine)
    engine = Engine(
        Loader(settings, metrics),
        service.model or "",
        metrics,
        Canary.read(service.canary, warm_up),
        warm_up=warm_up,
        keep_previous=service.keep_previous,
        grace_seconds=limits.deadline_seconds,
    )
    tracing = Tracing.from_environment()
    access = Access(api_keys, admin_keys, service.open_metrics)
    gate = None
    if not service.access_log and not service.cors_origins:  # those want more of a refusal
        gate = Gate(engine, settings.engine.max_waiting, {PREDICT}, metrics)

    async def care() -> None:
        await engine.start()
        await engine.watch()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        caring = asyncio.create_task(care())
        if gate:
            gate.watch()
        yield
        caring.cancel()
        engine.close()
        tracing.close()

    app = GatedFastAPI(
        title="Prediction service",
        docs_url=None,  # these would load scripts from elsewhere
        redoc_url=None,
        lifespan=lifespan,
        telemetry=tracing.config,
    )
    app.state.engine, app.state.metrics = engine, metrics
    add_error_handlers(app)
    prediction = Prediction(engine, limits)
    # The last one added is the outermost.
    if not tracing.config["tracing"]:  # FastAPI makes the spans
        app.add_middleware(DirectMiddleware, path=PREDICT, handler=prediction.from_json)
    app.add_middleware(
        BodyLimitMiddleware, max_bytes=limits.max_body_bytes, seconds=limits.body_seconds
    )
    app.add_middleware(ApiKeyMiddleware, access=access)
    if service.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=service.cors_origins,
            allow_methods=["GET", "POST"],
            allow_headers=ALLOWED_HEADERS,
            expose_headers=["Retry-After", "X-Model-Version", "X-Request-ID"],
        )
    app.add_middleware(
        RequestMiddleware,
        metrics=metrics,
        access_log=service.access_log,
        draining=lambda: engine.draining,
    )
    _add_prediction(app, prediction)
    _add_operations(app, engine, metrics)
    add_routes(app, engine, settings)
    add_sagemaker(app, engine, prediction)
    if admin_keys:
        add_admin(app, engine)
    if service.page:
        add_page(app)
    document_keys(app, access)
    app.gate = gate
    return app


def _add_prediction(app: FastAPI, prediction: Prediction) -> None:
    async def predict(asked: PredictRequest, request: Request) -> Response:
        return await prediction.answer(request, asked)

    app.router.add_api_route(
        PREDICT,
        predict,
        methods=["POST"],
        response_model=PredictResponse,
        summary="Predict one output for each input",
        responses=ERRORS,
        route_class_override=answered_by(prediction.from_json),
    )


def _add_operations(app: FastAPI, engine: Engine, metrics: Metrics) -> None:
    @app.get("/healthz", summary="Is the process alive?")
    async def healthz() -> Health:
        return Health()

    @app.get("/readyz", summary="Can it predict?", responses={503: ERRORS[503]})
    async def readyz() -> Readiness:
        problem = engine.problem()
        if problem:
            raise problem
        return Readiness(model=engine.runner().info)

    @app.get("/metrics", summary="Numbers for Prometheus", response_class=Response)
    async def read_metrics() -> Response:
        return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)
