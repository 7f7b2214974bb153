"""BentoML, batched; access log and metrics are off."""

from __future__ import annotations

from typing import Any

import bentoml
from model import MAX_BATCH, Classifier


@bentoml.service(
    workers=1,
    traffic={"timeout": 30},
    logging={"access": {"enabled": False}},
    metrics={"enabled": False},
)
class Service:
    def __init__(self) -> None:
        self.classifier = Classifier()

    @bentoml.api(batchable=True, max_batch_size=MAX_BATCH, max_latency_ms=10_000)
    def predict(self, texts: list[str]) -> list[dict[str, Any]]:
        return self.classifier.predict(texts)
