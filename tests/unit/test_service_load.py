"""The service under load and in trouble, over real HTTP and with a stub in the place of the model.

The stub notes each batch that it computes.
"""

from __future__ import annotations

import http.client
import json
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from serving import CANARY, Service, Start, starter, wait_until

pytestmark = pytest.mark.unit

BLOCK = "sleep 0.8"  # what comes behind it waits that long


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a service of one's own."""
    yield from starter(tmp_path, "text_classification")


@pytest.fixture
def computed(tmp_path: Path) -> Path:
    """What the stub has computed, a batch a line."""
    return tmp_path / "project/models/a-run/final/computed.log"


def leave(service: Service, *inputs: str) -> None:
    """Ask, and hang up without waiting for the answer."""
    body = json.dumps({"inputs": list(inputs)}).encode()
    head = (
        "POST /v1/predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", service.port), timeout=20) as client:
        client.sendall(head.encode() + body)
        time.sleep(0.1)


def test_what_arrives_while_the_model_works_is_one_batch(start: Start, computed: Path) -> None:
    service = start().wait_until_ready()
    with ThreadPoolExecutor(9) as pool:
        first = pool.submit(service.predict, BLOCK)
        time.sleep(0.2)
        others = list(pool.map(service.predict, [f"text {i}" for i in range(8)]))
    assert first.result().status == 200
    assert [each.body["outputs"][0]["label"] for each in others] == [f"text {i}" for i in range(8)]
    assert computed.read_text().splitlines()[-1].startswith("8 ")


# with a log line for each request nothing is refused before it is read
@pytest.mark.parametrize("access_log", ["true", "false"])
def test_waiting_inputs_are_bounded_and_the_next_is_429(start: Start, access_log: str) -> None:
    service = start(
        *("--engine.max_waiting", "3", "--engine.max_batch_size", "1"),
        *("--service.access_log", access_log),
    ).wait_until_ready()
    with ThreadPoolExecutor(12) as pool:
        replies = list(pool.map(lambda _: service.predict("sleep 0.5"), range(12)))
    answered = [r.status for r in replies].count(200)
    # one at work and three waiting, or fewer where the event loop was late
    assert answered == 4 if access_log == "true" else 1 <= answered <= 4
    turned_away = [r for r in replies if r.status != 200]
    assert {(r.status, r.error["code"]) for r in turned_away} == {(429, "overloaded")}
    assert all(1 <= int(r.headers["retry-after"]) <= 60 for r in turned_away)
    assert all(len(r.headers["x-request-id"]) == 32 for r in turned_away)
    assert service.predict("one").status == 200
    refused = len(turned_away)
    assert service.metric("inference_errors_total", kind="overloaded") == refused
    route = {"route": "/v1/predict", "status": "429"}
    assert service.metric("inference_requests_total", **route) == refused
    timed = service.metric("inference_request_seconds_count", route="/v1/predict")
    assert timed == len(replies) + 1


def test_wait_that_would_exceed_the_deadline_is_429_at_once(start: Start) -> None:
    one_a_batch = ("--engine.max_batch_size", "1")
    service = start(*one_a_batch, STUB_BATCH_SECONDS="0.3").wait_until_ready()
    with ThreadPoolExecutor(8) as pool:
        waiting = [pool.submit(service.predict, "text") for _ in range(8)]  # 2.4 seconds
        wait_until(lambda: service.metric("inference_queue_depth") >= 5)
        begun = time.monotonic()
        reply = service.post(b'{"inputs": ["text"]}', {"X-Request-Timeout": "0.5"})
        assert (reply.status, reply.error["code"]) == (429, "overloaded")
        assert time.monotonic() - begun < 0.4
        assert int(reply.headers["retry-after"]) >= 1
        assert {each.result().status for each in waiting} == {200}


def test_client_never_waits_longer_than_its_deadline(start: Start, computed: Path) -> None:
    service = start("--limits.deadline_seconds", "0.6").wait_until_ready()
    with ThreadPoolExecutor(2) as pool:
        begun = time.monotonic()
        at_work = pool.submit(service.predict, "sleep 1.5")
        time.sleep(0.2)
        behind = pool.submit(service.post, b'{"inputs": ["late"]}', {"X-Request-Timeout": "0.3"})
        for each in (behind.result(), at_work.result()):
            assert (each.status, each.error["code"]) == (503, "deadline_exceeded")
            assert int(each.headers["retry-after"]) >= 1
        assert time.monotonic() - begun < 1.2
    assert service.metric("inference_dropped_total", reason="deadline") == 1
    wait_until(lambda: service.predict("after").status == 200)
    assert "late" not in computed.read_text()  # dropped before it was computed


@pytest.mark.parametrize("timeout", ["", "soon", "-1", "0", "nan", "inf"])
def test_senseless_deadline_is_the_clients_error(start: Start, timeout: str) -> None:
    service = start().wait_until_ready()
    reply = service.post(b'{"inputs": ["a"]}', {"X-Request-Timeout": timeout})
    assert (reply.status, reply.error["code"]) == (400, "invalid_timeout")


def test_work_of_clients_that_left_is_not_done(start: Start, computed: Path) -> None:
    service = start().wait_until_ready()
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(service.predict, BLOCK)
        time.sleep(0.1)
        for number in range(4):
            leave(service, f"gone {number}", f"gone too {number}")
        stayed = pool.submit(service.predict, "stayed")
        assert first.result().status == stayed.result().status == 200
    assert "gone" not in computed.read_text()
    assert service.metric("inference_dropped_total", reason="cancelled") == 8
    assert service.metric("inference_requests_total", status="499") == 4
    assert service.metric("inference_queue_depth") == 0


def test_batch_that_does_not_fit_is_computed_in_halves(start: Start) -> None:
    service = start().wait_until_ready()
    reply = service.predict("memory", "fits")
    assert reply.status == 200
    assert [each["label"] for each in reply.body["outputs"]] == ["memory", "fits"]
    assert service.get("/readyz").status == 200


def test_what_never_fits_is_503_and_not_ready_when_it_repeats(start: Start) -> None:
    service = start().wait_until_ready()
    first = service.predict(f"huge {CANARY}")
    assert (first.status, first.error["code"]) == (503, "out_of_memory")
    assert service.get("/readyz").status == 200
    assert service.predict("huge").status == 503
    not_ready = service.get("/readyz")
    assert (not_ready.status, not_ready.error["code"]) == (503, "stalled")
    assert service.get("/healthz").status == 200
    assert service.predict("small").status == 200
    assert service.get("/readyz").status == 200
    assert CANARY not in service.log.read_text("utf-8")


def test_a_batch_without_an_end_is_told_of(start: Start) -> None:
    service = start("--limits.deadline_seconds", "0.2").wait_until_ready()
    assert service.predict("sleep 2.5").status == 503
    assert service.get("/readyz").status == 200  # it may only be slow
    wait_until(lambda: service.get("/readyz").status == 503)
    assert service.get("/readyz").error["code"] == "stalled"
    wait_until(lambda: service.get("/readyz").status == 200)


def test_failing_input_does_not_fail_its_neighbours(start: Start) -> None:
    service = start().wait_until_ready()
    with ThreadPoolExecutor(4) as pool:
        blocked = pool.submit(service.predict, BLOCK)
        time.sleep(0.2)
        bad = pool.submit(service.predict, "break")
        good = [pool.submit(service.predict, f"fine {i}") for i in range(2)]
        assert bad.result().status == 500
        assert {each.result().status for each in (blocked, *good)} == {200}


def test_score_that_is_no_number_is_an_error(start: Start) -> None:
    service = start().wait_until_ready()
    reply = service.predict("nan")
    assert (reply.status, reply.error["code"]) == (500, "not_finite")
    assert service.predict("one").status == 200


def test_alive_within_a_moment_under_overload(start: Start) -> None:
    service = start("--engine.max_waiting", "8", STUB_BATCH_SECONDS="0.05").wait_until_ready()
    end = time.monotonic() + 1.5
    codes: set[int] = set()

    def client(_: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=20)
        while time.monotonic() < end:
            connection.request(
                "POST",
                "/v1/predict",
                b'{"inputs": ["a", "b", "c"]}',
                {"Content-Type": "application/json"},
            )
            response = connection.getresponse()
            response.read()
            codes.add(response.status)

    with ThreadPoolExecutor(12) as pool:
        clients = [pool.submit(client, number) for number in range(12)]
        while time.monotonic() < end:
            assert service.get("/healthz").status == 200
            time.sleep(0.05)
        for each in clients:
            each.result()
    assert codes == {200, 429}
