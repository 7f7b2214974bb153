"""FastAPI as in its tutorial: a plain `def`, one text at a time, in FastAPI's thread pool."""

from __future__ import annotations

from fastapi import FastAPI
from http_api import Answer, Request, serve
from model import Classifier

app = FastAPI()
classifier = Classifier()


@app.post("/predict")
def predict(request: Request) -> Answer:
    return Answer(**classifier.predict([request.text])[0])


serve(app)
