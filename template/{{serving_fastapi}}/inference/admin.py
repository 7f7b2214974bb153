"""Changing the model without a restart; these routes exist only where ADMIN_KEYS names a key."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Body, FastAPI
from pydantic import BaseModel, ConfigDict, Field

from .api import ErrorResponse, ModelInfo
from .engine import Engine

ERRORS: dict[int | str, dict[str, Any]] = {
    401: {"model": ErrorResponse, "description": "No known admin key"},
    409: {"model": ErrorResponse, "description": "Being reloaded already, or nothing is kept"},
    503: {"model": ErrorResponse, "description": "The first model is still loading"},
}
FAILED: dict[int | str, dict[str, Any]] = {
    422: {"model": ErrorResponse, "description": "The model cannot serve; the old one goes on"}
}


class ReloadRequest(BaseModel):
    """Which model shall answer."""

    model_config = ConfigDict(extra="forbid")

    model: Annotated[str, Field(min_length=1)] | None = None
    """As `--model`; without it the last one is looked up again, as an alias may have moved."""
    other_labels: bool = False
    """Let it answer with other labels than the model before."""


class ServedModels(BaseModel):
    """Which model answers, and which one a rollback brings back."""

    model: ModelInfo
    previous: ModelInfo | None


class Reloaded(ServedModels):
    """Which model answers after a reload."""

    changed: bool
    """False: the model that was asked for answered already, and nothing was loaded."""


def add_admin(app: FastAPI, engine: Engine) -> None:
    """Add the routes; `ApiKeyMiddleware` asks for the key."""

    def served() -> dict[str, ModelInfo | None]:
        return {"model": engine.runner().info, "previous": engine.previous()}

    @app.get("/admin/model", summary="Which model answers?", responses=ERRORS)
    async def model() -> ServedModels:
        return ServedModels.model_validate(served())

    @app.post("/admin/reload", summary="Change the model", responses=ERRORS | FAILED)
    async def reload(request: Annotated[ReloadRequest | None, Body()] = None) -> Reloaded:
        asked = request or ReloadRequest()
        changed = await engine.reload(asked.model, other_labels=asked.other_labels)
        return Reloaded.model_validate({**served(), "changed": changed})

    @app.post("/admin/rollback", summary="Change back", responses=ERRORS)
    async def rollback() -> ServedModels:
        engine.rollback()
        return ServedModels.model_validate(served())
