"""What both plain FastAPI arms speak."""

from __future__ import annotations

import uvicorn
from fastapi import FastAPI
from model import PORT
from pydantic import BaseModel


class Request(BaseModel):
    text: str


class Answer(BaseModel):
    label: str
    score: float
    scores: dict[str, float]


def serve(app: FastAPI) -> None:
    """Answer until a signal ends it; /healthz too."""

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    uvicorn.run(app, host="127.0.0.1", port=PORT, access_log=False, log_level="warning")
