"""What the service answers, over real HTTP and with a stub in the place of the model."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from serving import CANARY, IDENTITY, Service, Start, starter, wait_until

pytestmark = pytest.mark.unit


@pytest.fixture(scope="module", params=["llm", "text_classification"])
def service(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """One service of each task for the tests that only ask."""
    for start in starter(tmp_path_factory.mktemp("service"), request.param):
        yield start(
            "--service.access_log", "true", "--limits.max_body_bytes", "4000"
        ).wait_until_ready()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a service of one's own."""
    yield from starter(tmp_path, "text_classification")


def test_predicts_in_order_and_names_the_model(service: Service) -> None:
    reply = service.predict("one", "two")
    assert reply.status == 200
    assert reply.body["model"] == IDENTITY
    first, second = (each.get("text") or each["label"] for each in reply.body["outputs"])
    assert first.endswith("one") and second.endswith("two")


def test_openapi_examples_are_accepted(service: Service) -> None:
    schemas = service.get("/openapi.json").body["components"]["schemas"]
    (example,) = schemas["PredictRequest"]["examples"]
    assert service.post(json.dumps(example).encode()).status == 200
    assert schemas["PredictResponse"]["examples"]


MALFORMED = [
    b"",
    b"{",
    b'{"inputs": ["canary-4711"',
    b"\xff\xfe canary-4711",
    b"[" * 3000,
    b"9" * 3900,
    b"null",
    b"[]",
    b'"canary-4711"',
    b"{}",
    b'{"inputs": []}',
    b'{"inputs": "canary-4711"}',
    b'{"inputs": {"canary-4711": 1}}',
    b'{"inputs": [1]}',
    b'{"inputs": [null, "canary-4711"]}',
    b'{"inputs": [["canary-4711"]]}',
    b'{"inputs": [{"canary-4711": "canary-4711"}]}',
    b'{"inputs": ["a"], "canary-4711": 1}',
    b'{"inputs": ["a"], "options": {"canary-4711": 1}}',
    b'{"inputs": ["a"], "options": "canary-4711"}',
    b'{"inputs": ["\\ud800 canary-4711"]}',
    b'{"inputs": ["canary-4711", ""]}',
]


@pytest.mark.parametrize("body", MALFORMED, ids=lambda body: body[:24].decode("latin-1"))
def test_malformed_body_is_the_clients_error_and_is_not_repeated(
    service: Service, body: bytes
) -> None:
    reply = service.post(body)
    assert reply.status in (400, 422)
    message = reply.error["message"]
    assert message.endswith(".") and "\n" not in message and len(message) < 200
    assert CANARY not in json.dumps(reply.body)
    assert service.predict("still there").status == 200


def test_other_content_type_is_refused_with_the_remedy(service: Service) -> None:
    reply = service.post(b'{"inputs": ["a"]}', {"Content-Type": "text/plain"})
    assert reply.status == 422
    assert "application/json" in reply.error["message"]


def test_bad_input_is_answered_with_the_predictors_sentence(service: Service) -> None:
    reply = service.predict("fine", f"refuse {CANARY}")
    assert (reply.status, reply.error["code"]) == (422, "invalid_input")
    assert reply.error["message"] == "the text is empty; send some"


def test_unexpected_failure_tells_no_detail_and_logs_no_input(service: Service) -> None:
    reply = service.post(
        json.dumps({"inputs": [f"break {CANARY}"]}).encode(), {"X-Request-ID": "trace-me"}
    )
    assert (reply.status, reply.error["code"]) == (500, "internal_error")
    assert "tensor" not in json.dumps(reply.body) and "Traceback" not in json.dumps(reply.body)

    def logged() -> list[dict[str, Any]]:
        return [x for x in service.lines() if x.get("request_id") == "trace-me"]

    wait_until(lambda: any(x["logger"] == "inference.access" for x in logged()))  # its last line
    failed = [x for x in logged() if "exception" in x]
    assert [x["exception"] for x in failed] == ["RuntimeError"]
    assert any("predictor.py" in place for place in failed[0]["stack"])
    assert service.predict("still there").status == 200
    assert CANARY not in service.log.read_text("utf-8")


@pytest.mark.parametrize("given", ["abc-1.2_3", "a" * 128])
def test_request_id_is_passed_through(service: Service, given: str) -> None:
    assert service.get("/healthz", **{"X-Request-ID": given}).headers["x-request-id"] == given


@pytest.mark.parametrize("given", ["", "a b", '"}', "a" * 129])
def test_request_id_that_could_spoil_a_log_is_replaced(service: Service, given: str) -> None:
    assert len(service.get("/healthz", **{"X-Request-ID": given}).headers["x-request-id"]) == 32


def test_every_error_has_a_request_id_and_the_same_form(service: Service) -> None:
    for method, path, status in (("GET", "/no-such", 404), ("GET", "/v1/predict", 405)):
        reply = service.request(method, path, None, {})
        assert (reply.status, len(reply.headers["x-request-id"])) == (status, 32)
        assert reply.error["message"].endswith(".")


def test_access_log_has_the_route_but_not_a_strangers_path(service: Service) -> None:
    service.get(f"/{CANARY}?{CANARY}")
    service.predict("one")

    def logged() -> list[tuple[str, str, int]]:
        lines = [x for x in service.lines() if x["logger"] == "inference.access"]
        return [(x["method"], x["path"], x["status"]) for x in lines]

    wait_until(lambda: ("POST", "/v1/predict", 200) in logged() and ("GET", "-", 404) in logged())
    assert CANARY not in service.log.read_text("utf-8")


def test_oversize_body_is_413_whether_announced_or_not(service: Service) -> None:
    body = json.dumps({"inputs": ["a" * 3_000_000]}).encode()  # more than the sockets' buffers
    announced = service.post(body)
    assert (announced.status, announced.error["code"]) == (413, "body_too_large")
    assert announced.headers["x-request-id"]

    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=20)
    headers = {"Content-Type": "application/json", "Transfer-Encoding": "chunked"}
    pieces = (body[i : i + 10_000] for i in range(0, len(body), 10_000))
    connection.request("POST", "/v1/predict", pieces, headers, encode_chunked=True)
    response = connection.getresponse()
    assert response.status == 413
    assert json.loads(response.read())["error"]["code"] == "body_too_large"
    connection.close()


def test_client_that_asks_first_is_told_413_before_it_sends(service: Service) -> None:
    with socket.create_connection(("127.0.0.1", service.port), timeout=20) as client:
        client.sendall(
            b"POST /v1/predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Content-Length: 9999999\r\nExpect: 100-continue\r\n\r\n"
        )
        assert client.recv(4096).startswith(b"HTTP/1.1 413 ")


def test_too_many_and_too_long_inputs_are_refused_with_the_limit(start: Start) -> None:
    limits = ("--limits.max_inputs", "3", "--limits.max_input_characters", "10")
    service = start(*limits).wait_until_ready()
    assert service.predict("a", "b", "c" * 10).status == 200
    many, long = service.predict(*"abcd"), service.predict("a", CANARY)
    assert (many.status, many.error["code"]) == (422, "too_many_inputs")
    assert (long.status, long.error["code"]) == (422, "input_too_long")
    assert "3" in many.error["message"]
    assert "inputs[1]" in long.error["message"] and "10" in long.error["message"]


def test_llm_takes_chats_and_checks_options(tmp_path: Path) -> None:
    for start in starter(tmp_path, "llm"):
        service = start().wait_until_ready()
        chat = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hello"}]
        reply = service.predict(chat, "Hello", options={"max_new_tokens": 7})
        first, second = (output["text"] for output in reply.body["outputs"])
        assert first == f"7 {chat}" and second == "7 Hello"
        bad: dict[str, Any]
        for bad in (
            {"inputs": [[{"role": CANARY, "content": "x"}]]},
            {"inputs": [[{"role": "user"}]]},
            {"inputs": [[]]},
            {"inputs": ["x"], "options": {"max_new_tokens": 0}},
            {"inputs": ["x"], "options": {"temperature": "warm"}},
        ):
            refused = service.post(json.dumps(bad).encode())
            assert refused.status == 422 and CANARY not in refused.error["message"]


def test_narrowest_limits_let_a_language_model_start(tmp_path: Path) -> None:
    limits = {"max_new_tokens": 1, "max_streams": 1, "max_waiting": 0}
    arguments = [word for key, value in limits.items() for word in (f"--engine.{key}", str(value))]
    for start in starter(tmp_path, "llm"):
        service = start(*arguments).wait_until_ready()
        assert service.predict("text", options={"max_new_tokens": 1}).status == 200


def test_slow_body_is_408(start: Start) -> None:
    service = start("--limits.body_seconds", "0.3").wait_until_ready()
    with socket.create_connection(("127.0.0.1", service.port), timeout=20) as client:
        client.sendall(
            b"POST /v1/predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b'Content-Length: 100\r\n\r\n{"inputs'
        )
        answer = b"".join(iter(lambda: client.recv(4096), b""))
    assert answer.startswith(b"HTTP/1.1 408 ") and b"body_too_slow" in answer


def test_too_large_body_that_never_comes_is_413(start: Start) -> None:
    service = start("--limits.body_seconds", "0.4").wait_until_ready()
    with socket.create_connection(("127.0.0.1", service.port), timeout=5) as client:
        client.sendall(
            b"POST /v1/predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Content-Length: 99999999\r\n\r\n{"
        )
        assert b" 413 " in client.recv(1000)


def test_other_origins_are_let_in_only_when_named(start: Start) -> None:
    asked = {"Origin": "https://app.example.org", "Access-Control-Request-Method": "POST"}
    closed = start().wait_until_ready()
    assert "access-control-allow-origin" not in closed.get("/healthz", **asked).headers
    preflight = closed.request("OPTIONS", "/v1/predict", None, asked)
    assert preflight.status == 405

    origins = ("--service.cors_origins", '["https://app.example.org"]')
    key = "a-key-that-is-long-enough"  # pragma: allowlist secret
    opened = start(*origins, API_KEYS=key).wait_until_ready()
    preflight = opened.request("OPTIONS", "/v1/predict", None, asked)
    assert preflight.status == 200
    assert preflight.headers["access-control-allow-origin"] == asked["Origin"]
    refused = opened.post(b"{}", {"Origin": asked["Origin"]})
    assert refused.status == 401 and "access-control-allow-origin" in refused.headers


def test_metrics_count_answers_errors_and_batches(start: Start) -> None:
    service = start().wait_until_ready()
    before = service.metric("inference_batch_size_count")
    assert service.predict("one", "two").status == 200
    assert service.predict("refuse").status == 422
    route = {"route": "/v1/predict"}
    assert service.metric("inference_requests_total", **route, status="200") == 1
    assert service.metric("inference_requests_total", **route, status="422") == 1
    assert service.metric("inference_errors_total", kind="invalid_input") == 1
    assert service.metric("inference_request_seconds_count", **route) == 2
    model = {"model": "stub", "version": IDENTITY["version"], "digest": IDENTITY["digest"]}
    assert service.metric("inference_batch_size_count", **model) == before + 1
    for phase in ("queue", "preprocess", "compute", "postprocess"):
        assert service.metric(f"inference_{phase}_seconds_count", **model) > 0
    assert service.metric("inference_model_info", **model) == 1
    assert service.metric("inference_ready") == 1
    assert service.metric("inference_queue_depth") == 0


def test_metrics_are_no_longer_than_needed(service: Service) -> None:
    service.predict("one")
    text = service.request("GET", "/metrics", None, {}).body.decode()
    assert "inference_requests_total{" in text and "_created" not in text


def test_answer_names_the_version_in_a_header(service: Service) -> None:
    assert service.predict("one").headers["x-model-version"] == IDENTITY["version"]


def test_openapi_documents_requests_and_every_error(service: Service) -> None:
    document = service.get("/openapi.json").body
    operation = document["paths"]["/v1/predict"]["post"]
    body = operation["requestBody"]["content"]["application/json"]["schema"]
    assert body["$ref"].endswith("/PredictRequest")
    answers = operation["responses"]
    assert answers["200"]["content"]["application/json"]["schema"]["$ref"].endswith("Response")
    errors = {"400", "401", "408", "413", "422", "429", "500", "503"}
    assert set(answers) == {"200", *errors}
    for status in errors:
        schema = answers[status]["content"]["application/json"]["schema"]
        assert schema["$ref"].endswith("/ErrorResponse")
