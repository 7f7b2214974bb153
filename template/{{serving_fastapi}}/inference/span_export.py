"""Sending spans with OpenTelemetry's SDK, which only a service with tracing needs."""

from __future__ import annotations

import os

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Span, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor


def provider() -> TracerProvider:
    """Sends spans to the collector that the environment names."""
    os.environ.setdefault("OTEL_SERVICE_NAME", "inference")
    provider = TracerProvider(resource=Resource.create(), shutdown_on_exit=False)
    provider.add_span_processor(SpanSender(OTLPSpanExporter()))
    return provider


class SpanSender(BatchSpanProcessor):
    """Forgets query strings, which are the client's own text."""

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Overwrite it before anybody reads it."""
        if "url.query" in (span.attributes or {}):
            span.set_attribute("url.query", "")
        super().on_start(span, parent_context)
