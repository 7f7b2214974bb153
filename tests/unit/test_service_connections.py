"""Clients that open a connection and do not send a request that can be read."""

from __future__ import annotations

import http.client
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from serving import Service, starter

pytestmark = pytest.mark.unit

SECONDS = 0.5


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    for start in starter(tmp_path_factory.mktemp("service"), "text_classification"):
        yield start("--limits.body_seconds", str(SECONDS)).wait_until_ready()


def connect(service: Service) -> socket.socket:
    return socket.create_connection(("127.0.0.1", service.port), timeout=10)


@pytest.mark.parametrize("sent", [b"", b"GET", b"GET /healthz HTTP/1.1\r\nHost: x\r\n"])
def test_who_sends_no_whole_head_is_cut_off(service: Service, sent: bytes) -> None:
    begun = time.monotonic()
    with connect(service) as connection:
        connection.sendall(sent)
        assert connection.recv(1000) == b""
    assert time.monotonic() - begun >= SECONDS * 0.9


def test_a_head_that_dribbles_in_is_cut_off(service: Service) -> None:
    with connect(service) as connection, pytest.raises(OSError):
        connection.sendall(b"GET /healthz HTTP/1.1\r\n")
        for number in range(200):
            connection.sendall(f"X-{number}: y\r\n".encode())
            time.sleep(0.05)


def test_a_long_head_is_refused(service: Service) -> None:
    with connect(service) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\n" + b"X: " + b"y" * 70_000)
        assert connection.recv(1000).startswith(b"HTTP/1.1 431")


def test_an_endless_head_is_not_read_for_ever(service: Service) -> None:
    sent = 0
    with connect(service) as connection, pytest.raises(OSError):
        connection.sendall(b"GET /healthz HTTP/1.1\r\n")
        while sent < 50_000_000:
            connection.sendall(b"X: " + b"y" * 9_000 + b"\r\n")
            sent += 9_005
    assert service.get("/healthz").status == 200


def test_a_connection_is_used_again(service: Service) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=10)
    connection.connect()
    mine = connection.sock
    for _ in range(3):
        connection.request("GET", "/healthz")
        assert connection.getresponse().read() == b'{"status":"ok"}'
        time.sleep(SECONDS * 1.5)  # idle, as a pool's connection
    assert connection.sock is mine
    connection.close()


def test_who_does_not_read_the_answer_is_cut_off(tmp_path: Path) -> None:
    # the deadline is also how long an answer may wait to be read
    limits = {"body_seconds": 20, "deadline_seconds": 2}
    limits |= {"max_input_characters": 10**7, "max_body_bytes": 10**7}
    options = [each for k, v in limits.items() for each in (f"--limits.{k}", str(v))]
    for start in starter(tmp_path, "text_classification"):
        service = start(*options).wait_until_ready()
        body = json.dumps({"inputs": ["x" * 5_000_000]}).encode()  # the stub repeats it twice
        head = f"POST /v1/predict HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n"
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.settimeout(10)
            client.connect(("127.0.0.1", service.port))
            client.sendall(f"{head}Content-Type: application/json\r\n\r\n".encode() + body)
            time.sleep(4)  # nothing tells when the service has given it up
            answer = http.client.HTTPResponse(client)
            answer.begin()
            assert answer.status == 200
            with pytest.raises((http.client.IncompleteRead, ConnectionError)):
                answer.read()
