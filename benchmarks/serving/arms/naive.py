"""FastAPI as in its tutorial: a plain `def`, one text at a time, in FastAPI's thread pool."""

from __future__ import annotations

import uvicorn
from fastapi import FastAPI
from model import PORT, Classifier
from pydantic import BaseModel

app = FastAPI()
classifier = Classifier()


class Request(BaseModel):
    text: str


class Answer(BaseModel):
    label: str
    score: float
    scores: dict[str, float]


@app.get("/healthz")
async def healthz() -> dict[str, str]:
    return {"status": "ok"}


@app.post("/predict")
def predict(request: Request) -> Answer:
    return Answer(**classifier.predict([request.text])[0])


uvicorn.run(app, host="127.0.0.1", port=PORT, access_log=False, log_level="warning")
