"""Tracing with OpenTelemetry's SDK, and a collector that this test is."""

from __future__ import annotations

import http.server
import importlib
import importlib.util
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from serving import CANARY, Start, starter, wait_until

pytestmark = pytest.mark.unit
HAS_SDK = importlib.util.find_spec("opentelemetry.exporter") is not None
needs_sdk = pytest.mark.skipif(not HAS_SDK, reason="OpenTelemetry's SDK is not installed")

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
SOON = {"OTEL_BSP_SCHEDULE_DELAY": "100"}


class Collector(http.server.ThreadingHTTPServer):
    """Keeps what an OTLP/HTTP exporter sends."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.bodies: list[bytes] = []
        self.address = f"http://127.0.0.1:{self.server_port}"

    def spans(self) -> list[dict[str, Any]]:
        messages = importlib.import_module(
            "opentelemetry.proto.collector.trace.v1.trace_service_pb2"
        )
        found = []
        for body in self.bodies:
            request = messages.ExportTraceServiceRequest.FromString(body)
            for resource in request.resource_spans:
                for span in (span for scope in resource.scope_spans for span in scope.spans):
                    found.append(
                        {
                            "name": span.name,
                            "trace": span.trace_id.hex(),
                            "id": span.span_id.hex(),
                            "parent": span.parent_span_id.hex(),
                            "seconds": (span.end_time_unix_nano - span.start_time_unix_nano) / 1e9,
                            "service": _values(resource.resource)["service.name"],
                            **_values(span),
                        }
                    )
        return found

    def named(self, name: str) -> list[dict[str, Any]]:
        return [span for span in self.spans() if span["name"] == name]


def _values(item: Any) -> dict[str, Any]:
    return {
        each.key: getattr(each.value, each.value.WhichOneof("value")) for each in item.attributes
    }


class Handler(http.server.BaseHTTPRequestHandler):
    """Takes what is sent."""

    server: Collector

    def do_POST(self) -> None:
        assert self.path == "/v1/traces"
        self.server.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def collector() -> Iterator[Collector]:
    collector = Collector()
    threading.Thread(target=collector.serve_forever, args=(0.02,), daemon=True).start()
    yield collector
    collector.shutdown()
    collector.server_close()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    yield from starter(tmp_path, "text_classification")


@needs_sdk
def test_a_request_is_a_span_of_the_callers_trace(start: Start, collector: Collector) -> None:
    service = start(OTEL_EXPORTER_OTLP_ENDPOINT=collector.address, **SOON).wait_until_ready()
    assert service.post(b'{"inputs": ["sleep 0.2"]}', TRACEPARENT).status == 200
    (span,) = wait_until(lambda: collector.named("POST /v1/predict"))
    assert (span["trace"], span["parent"], span["service"]) == (TRACE, PARENT, "inference")
    assert (span["http.route"], span["http.response.status_code"]) == ("/v1/predict", 200)
    assert span["model.version"] == "0123456789ab" and span["model.name"] == "stub"
    below = {each["name"]: each for each in collector.spans() if each["parent"] == span["id"]}
    assert {"queue", "compute"} <= set(below)
    queue, compute = (below[name]["seconds"] for name in ("queue", "compute"))
    assert compute >= 0.2 and 0 <= queue <= span["seconds"] - compute


@needs_sdk
def test_spans_hold_no_input_and_probes_make_none(start: Start, collector: Collector) -> None:
    service = start(
        OTEL_EXPORTER_OTLP_ENDPOINT=collector.address, OTEL_SERVICE_NAME="mine", **SOON
    ).wait_until_ready()
    headers = {"Content-Type": "application/json", "X-Request-ID": CANARY}
    for text in (CANARY, f"refuse {CANARY}", f"break {CANARY}"):
        body = f'{{"inputs": ["{text}"]}}'.encode()
        service.request("POST", f"/v1/predict?{CANARY}={CANARY}", body, headers)
    service.request("POST", f"/{CANARY}", CANARY.encode(), headers)
    service.request("POST", f"/v1/{CANARY}", CANARY.encode(), headers)
    service.get("/metrics")
    assert service.stop() == 0
    status = [span["http.response.status_code"] for span in collector.named("POST /v1/predict")]
    assert sorted(status) == [200, 422, 500]
    assert {span["service"] for span in collector.spans()} == {"mine"}
    assert {span["name"] for span in collector.spans()} <= {"POST /v1/predict", "queue", "compute"}
    assert CANARY.encode() not in b"".join(collector.bodies)


@needs_sdk
def test_the_last_spans_are_sent_before_the_end(start: Start, collector: Collector) -> None:
    service = start(
        OTEL_EXPORTER_OTLP_ENDPOINT=collector.address, OTEL_BSP_SCHEDULE_DELAY="600000"
    ).wait_until_ready()
    service.predict("one")
    assert not collector.bodies  # they are sent every ten minutes
    assert service.stop() == 0
    assert len(collector.named("POST /v1/predict")) == 1


@needs_sdk
def test_a_collector_that_is_gone_holds_nothing_up(start: Start) -> None:
    nowhere = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", **SOON}
    service = start("--service.drain_seconds", "0", **nowhere).wait_until_ready()
    assert {service.predict("one").status for _ in range(20)} == {200}
    service.process.terminate()
    assert service.process.wait(timeout=8) == 0


def test_without_the_sdk_it_is_one_sentence(start: Start, tmp_path: Path) -> None:
    hidden = tmp_path / "project/opentelemetry_hidden"
    hidden.mkdir()
    (hidden / "sitecustomize.py").write_text(
        "import sys\n"
        "sys.modules['opentelemetry.sdk'] = sys.modules['opentelemetry.exporter'] = None\n"
    )
    service = start(OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9", PYTHONPATH=str(hidden))
    assert service.process.wait(timeout=20) == 2
    (line,) = service.log.read_text("utf-8").splitlines()
    assert line.startswith("error: OTEL_EXPORTER_OTLP_ENDPOINT is set") and "pip install" in line
