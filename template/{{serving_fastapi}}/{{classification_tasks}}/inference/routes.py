"""Routes beside /v1/predict: the place for your own."""

from __future__ import annotations

from fastapi import FastAPI

from .engine import Engine
from .settings import ServeSettings


def add_routes(app: FastAPI, engine: Engine, settings: ServeSettings) -> None:
    """Add none; this task needs no others."""
