"""The service under load and in trouble, over real HTTP and with a stub in the place of the model.

The stub notes each batch that it computes.
"""

from __future__ import annotations

import http.client
import json
import signal
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from serving import CANARY, Service, Start, at_work, starter, wait_until

pytestmark = pytest.mark.unit


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a service of one's own."""
    yield from starter(tmp_path, "text_classification")


def leave(service: Service, *inputs: str) -> None:
    """Ask, and hang up while that waits for the model, where nothing else waits."""
    body = json.dumps({"inputs": list(inputs)}).encode()
    head = (
        "POST /v1/predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", service.port), timeout=20) as client:
        client.sendall(head.encode() + body)
        wait_for_queue(service, len(inputs))
    wait_for_queue(service, 0)


def wait_for_queue(service: Service, length: int) -> None:
    wait_until(lambda: service.metric("inference_queue_depth") == length)


def test_what_arrives_while_the_model_works_is_one_batch(
    start: Start, computed: Path, free: Path
) -> None:
    service = start().wait_until_ready()
    with ThreadPoolExecutor(9) as pool:
        first = pool.submit(service.predict, "hold")
        at_work(computed, "hold")
        others = pool.map(service.predict, [f"text {i}" for i in range(8)])
        wait_for_queue(service, 8)
        free.touch()
        labels = [each.body["outputs"][0]["label"] for each in others]
    assert first.result().status == 200
    assert labels == [f"text {i}" for i in range(8)]
    assert computed.read_text().splitlines()[-1].startswith("8 ")


# with a log line for each request nothing is refused before it is read
@pytest.mark.parametrize("access_log", ["true", "false"])
def test_waiting_inputs_are_bounded_and_the_next_is_429(
    start: Start, access_log: str, computed: Path, free: Path
) -> None:
    service = start(
        *("--engine.max_waiting", "3", "--engine.max_batch_size", "1"),
        *("--service.access_log", access_log),
    ).wait_until_ready()
    with ThreadPoolExecutor(12) as pool:
        asked = [pool.submit(service.predict, "hold")]
        at_work(computed, "hold")
        asked += [pool.submit(service.predict, "text") for _ in range(11)]
        wait_until(lambda: [each.done() for each in asked].count(True) >= 8)
        free.touch()
    replies = [each.result() for each in asked]
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


def test_wait_that_would_exceed_the_deadline_is_429_at_once(
    start: Start, computed: Path, free: Path
) -> None:
    one_a_batch = ("--engine.max_batch_size", "1")
    service = start(*one_a_batch, STUB_BATCH_SECONDS="0.3").wait_until_ready()
    with ThreadPoolExecutor(5) as pool:
        asked = [pool.submit(service.predict, "hold")]
        at_work(computed, "hold")
        asked += [pool.submit(service.predict, "text") for _ in range(4)]  # 1.2 seconds
        wait_for_queue(service, 4)
        reply = service.post(b'{"inputs": ["text"]}', {"X-Request-Timeout": "0.5"})
        # once its time is over it would be 503
        assert (reply.status, reply.error["code"]) == (429, "overloaded")
        assert int(reply.headers["retry-after"]) >= 1
        free.touch()
        assert {each.result().status for each in asked} == {200}


def test_client_never_waits_longer_than_its_deadline(
    start: Start, computed: Path, free: Path
) -> None:
    service = start("--limits.deadline_seconds", "1").wait_until_ready()
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(service.predict, "hold")
        at_work(computed, "hold")
        behind = pool.submit(service.post, b'{"inputs": ["late"]}', {"X-Request-Timeout": "0.3"})
        for each in (behind.result(), first.result()):  # while the model still works
            assert (each.status, each.error["code"]) == (503, "deadline_exceeded")
            assert int(each.headers["retry-after"]) >= 1
    assert service.metric("inference_dropped_total", reason="deadline") == 1
    free.touch()
    wait_until(lambda: service.predict("after").status == 200)
    assert "late" not in computed.read_text()  # dropped before it was computed


@pytest.mark.parametrize("timeout", ["", "soon", "-1", "0", "nan", "inf"])
def test_senseless_deadline_is_the_clients_error(start: Start, timeout: str) -> None:
    service = start().wait_until_ready()
    reply = service.post(b'{"inputs": ["a"]}', {"X-Request-Timeout": timeout})
    assert (reply.status, reply.error["code"]) == (400, "invalid_timeout")


def test_work_of_clients_that_left_is_not_done(start: Start, computed: Path, free: Path) -> None:
    service = start().wait_until_ready()
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(service.predict, "hold")
        at_work(computed, "hold")
        for number in range(4):
            leave(service, f"gone {number}", f"gone too {number}")
        stayed = pool.submit(service.predict, "stayed")
        wait_for_queue(service, 1)
        free.touch()
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
    assert service.stop(signal.SIGINT) == 0  # then the log is whole
    assert CANARY not in service.log.read_text("utf-8")


def test_a_batch_without_an_end_is_told_of(start: Start, free: Path) -> None:
    service = start("--limits.deadline_seconds", "0.5").wait_until_ready()
    assert service.predict("hold").status == 503
    assert service.get("/readyz").status == 200  # it may only be slow
    wait_until(lambda: service.get("/readyz").status == 503)
    assert service.get("/readyz").error["code"] == "stalled"
    free.touch()
    wait_until(lambda: service.get("/readyz").status == 200)


def test_failing_input_does_not_fail_its_neighbours(
    start: Start, computed: Path, free: Path
) -> None:
    service = start().wait_until_ready()
    with ThreadPoolExecutor(4) as pool:
        blocked = pool.submit(service.predict, "hold")
        at_work(computed, "hold")
        bad = pool.submit(service.predict, "break")
        good = [pool.submit(service.predict, f"fine {i}") for i in range(2)]
        wait_for_queue(service, 3)
        free.touch()
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
