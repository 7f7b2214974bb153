"""OpenTelemetry: a span for each request, where the environment names a collector.

OTEL_EXPORTER_OTLP_ENDPOINT=http://collector:4318 turns it on; the SDK's other variables work too
(OTEL_SERVICE_NAME, OTEL_EXPORTER_OTLP_HEADERS, OTEL_TRACES_SAMPLER, ...). A span has the route,
the status, the model and how long the parts took: never an input, an output or a query string.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import MutableMapping
from typing import Any

from fastapi.telemetry import TelemetryConfig
from opentelemetry import trace

from .api import ModelInfo
from .project import ConfigError

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
# Only these paths: any other is the client's own text, and probes would drown the rest.
TRACED = frozenset(
    {"/v1/predict", "/v1/chat/completions", "/invocations", "/admin/reload", "/admin/rollback"}
)
CLOSE_SECONDS = 3.0  # for the last spans; a collector that is gone must not hold up the end

_tracer = trace.get_tracer("inference")


class Tracing:
    """What FastAPI records, and sending it."""

    def __init__(self, provider: Any = None) -> None:
        self._provider = provider

    @classmethod
    def from_environment(cls) -> Tracing:
        """On where a collector is named. Raises ConfigError where the SDK is not installed."""
        named = next((name for name in ENDPOINTS if os.environ.get(name)), None)
        if named is None or os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
            return cls()
        try:
            from . import span_export  # imported here: a service without tracing needs no SDK
        except ImportError:
            raise ConfigError(
                f"{named} is set, and what sends traces is not installed; run: pip install "
                "opentelemetry-sdk opentelemetry-exporter-otlp-proto-http, or unset it"
            ) from None
        provider = span_export.provider()
        trace.set_tracer_provider(provider)
        return cls(provider)

    @property
    def config(self) -> TelemetryConfig:
        """For `FastAPI(telemetry=...)`. Its own logs would hold the texts of exceptions."""
        return {
            "tracing": self._provider is not None,
            "tracer_provider": self._provider,
            "metrics": False,  # /metrics has them
            "logs": False,
            "operation_spans": False,
            "auto_configure": False,
            "exclude": _is_not_traced,
        }

    def close(self) -> None:
        """Send what is left."""
        if self._provider is not None:
            last = threading.Thread(target=self._provider.shutdown, daemon=True)
            last.start()
            last.join(CLOSE_SECONDS)


def describe(info: ModelInfo) -> None:
    """Say on the request's span which model answers it."""
    span = trace.get_current_span()
    if span.is_recording():
        for key in ("name", "version", "digest"):
            span.set_attribute(f"model.{key}", getattr(info, key))


def record(stage: str, begun: float, ended: float) -> None:
    """Add a span below the request's, between two times of time.monotonic()."""
    if not trace.get_current_span().is_recording():
        return
    shift = time.time() - time.monotonic()
    span = _tracer.start_span(stage, start_time=round((begun + shift) * 1e9))
    span.end(round((ended + shift) * 1e9))


def _is_not_traced(scope: MutableMapping[str, Any]) -> bool:
    return scope.get("path") not in TRACED
