"""What Prometheus reads at /metrics."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)

from .api import ModelInfo

# a time of birth for each series is of no use here
disable_created_metrics()  # type: ignore[no-untyped-call]

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
MODEL = ("model", "version", "digest")


@dataclass(frozen=True)
class ModelMetrics:
    """Those of one version of a model."""

    queue_seconds: Histogram
    preprocess_seconds: Histogram
    compute_seconds: Histogram
    postprocess_seconds: Histogram
    first_token_seconds: Histogram
    batch_size: Histogram
    prompt_tokens: Counter
    completion_tokens: Counter


class Metrics:
    """All of one application; a registry of its own keeps two in one process apart."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.requests = self._counter("requests_total", "Answers", "route", "status")
        self.request_seconds = self._histogram(
            "request_seconds", "From a request's head to the end of its answer", "route"
        )
        self.errors = self._counter("errors_total", "Answers that are errors, by code", "kind")
        self.dropped = self._counter(
            "dropped_total", "Inputs dropped before they were computed", "reason"
        )
        self._info = self._gauge("model_info", "1 for the model that answers", *MODEL)
        self._waiting = self._gauge("queue_depth", "Inputs that wait to be computed")
        self._ready = self._gauge("ready", "1 while /readyz says so")
        self._queue = self._histogram("queue_seconds", "An input's wait", *MODEL)
        self._preprocess = self._histogram(
            "preprocess_seconds", "From inputs to what the model takes", *MODEL
        )
        self._compute = self._histogram("compute_seconds", "The model's work on a batch", *MODEL)
        self._postprocess = self._histogram(
            "postprocess_seconds", "From what the model gave to outputs", *MODEL
        )
        self._first_token = self._histogram(
            "first_token_seconds", "From a request to its first token", *MODEL
        )
        self._batch_size = self._histogram("batch_size", "Inputs of a batch", *MODEL, buckets=SIZES)
        self._tokens = self._counter("tokens_total", "Tokens, read and written", "kind", *MODEL)

        self._of_models = (
            *(self._queue, self._preprocess, self._compute, self._postprocess),
            *(self._first_token, self._batch_size),
        )

    def of(self, info: ModelInfo) -> ModelMetrics:
        """Those which carry a model's name, version and digest."""
        labels = (info.name, info.version, info.digest)
        return ModelMetrics(
            queue_seconds=self._queue.labels(*labels),
            preprocess_seconds=self._preprocess.labels(*labels),
            compute_seconds=self._compute.labels(*labels),
            postprocess_seconds=self._postprocess.labels(*labels),
            first_token_seconds=self._first_token.labels(*labels),
            batch_size=self._batch_size.labels(*labels),
            prompt_tokens=self._tokens.labels("prompt", *labels),
            completion_tokens=self._tokens.labels("completion", *labels),
        )

    def forget(self, info: ModelInfo) -> None:
        """Drop those of a model that was closed: each reload would add some, for ever."""
        labels = (info.name, info.version, info.digest)
        for histogram in self._of_models:
            histogram.remove(*labels)
        for kind in ("prompt", "completion"):
            self._tokens.remove(kind, *labels)

    def serving(self, info: ModelInfo) -> None:
        """Say which model answers now."""
        self._info.clear()
        self._info.labels(info.name, info.version, info.digest).set(1)

    def watch(self, waiting: Callable[[], int], ready: Callable[[], bool]) -> None:
        """Where the gauges get their values from when somebody asks."""
        self._waiting.set_function(waiting)
        self._ready.set_function(ready)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"inference_{name}", text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"inference_{name}", text, labels, registry=self.registry)

    def _histogram(
        self, name: str, text: str, *labels: str, buckets: Sequence[float] = SECONDS
    ) -> Histogram:
        name = f"inference_{name}"
        return Histogram(name, text, labels, buckets=buckets, registry=self.registry)
