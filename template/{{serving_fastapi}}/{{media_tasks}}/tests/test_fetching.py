"""Inputs that are web addresses: what is fetched, and what never is, with servers on this machine.

Nothing on this machine is on the public internet, so where a fetch shall succeed a test says that
one address is.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from typing import Any

import pytest

from inference import fetching, public_web
from inference.errors import ServiceError
from inference.fetching import resolve, resolve_inputs
from inference.public_web import is_public
from inference.url_limits import UrlLimits

CONTENT = b"GIF89a" + bytes(1000)
SECRET = "canary-4711"  # pragma: allowlist secret


class Handler(BaseHTTPRequestHandler):
    """Answers by the path."""

    def do_GET(self) -> None:
        self.server.asked.append((self.path, self.headers["Host"]))  # type: ignore[attr-defined]
        what = self.path.strip("/").split("/")
        if what[0] == "to":
            self.answer(302, b"", Location=self.path.removeprefix("/to/"))
        elif what[0] == "again":
            self.answer(302, b"", Location="/again")
        elif what[0] == "slow":
            self.send_response(200)
            with contextlib.suppress(OSError):  # the client has had enough
                for _ in range(100):  # each byte would restart a timeout of reading
                    self.wfile.write(b"X")
                    time.sleep(0.05)
        elif what[0] == "missing":
            self.answer(404, SECRET.encode())
        elif what[0] == "text":
            self.answer(200, SECRET.encode(), **{"Content-Type": "text/html"})
        elif what[0] == "squeezed":
            self.answer(200, CONTENT, **{"Content-Type": "image/gif", "Content-Encoding": "gzip"})
        elif what[0] == "endless":
            self.answer(200, bytes(100_000), **{"Content-Type": "image/gif"})
        else:
            self.answer(200, CONTENT, **{"Content-Type": "image/gif"})

    def answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.asked = []  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def public(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let 127.0.0.1 stand for a machine on the internet, and it alone."""
    one = ip_address("127.0.0.1")
    monkeypatch.setattr(public_web, "is_public", lambda address: address == one)


def limits(server: ThreadingHTTPServer, **changes: Any) -> UrlLimits:
    options = {"allow_urls": True, "url_ports": [server.server_port], "url_seconds": 2}
    return UrlLimits(**{**options, **changes})


def url(server: ThreadingHTTPServer, path: str = "a.gif", host: str = "127.0.0.1") -> str:
    return f"http://{host}:{server.server_port}/{path}"


def soon(seconds: float = 10.0) -> float:
    return time.monotonic() + seconds


def refusal(value: str, limits: UrlLimits) -> ServiceError:
    with pytest.raises(ServiceError) as raised:
        asyncio.run(resolve(value, limits))
    error = raised.value
    assert error.status_code == 422 and error.detail.endswith(".") and "\n" not in error.detail
    assert SECRET not in error.detail and "127.0.0.1" not in error.detail
    return error


def test_is_refused_unless_allowed(server: ThreadingHTTPServer, public: None) -> None:
    error = refusal(url(server), limits(server, allow_urls=False))
    assert error.code == "url_refused" and "limits.allow_urls" in error.detail
    assert not server.asked  # type: ignore[attr-defined]


def test_fetches_what_is_public(server: ThreadingHTTPServer, public: None) -> None:
    assert asyncio.run(resolve(url(server), limits(server))) == CONTENT


def test_addresses_are_not_logged(
    server: ThreadingHTTPServer, public: None, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    assert asyncio.run(resolve(url(server, SECRET), limits(server))) == CONTENT
    refusal(url(server, f"missing/{SECRET}"), limits(server))
    assert SECRET not in caplog.text


def test_other_texts_stay_as_they_are(server: ThreadingHTTPServer) -> None:
    for text in ("R0lGODlh", "data:image/gif;base64,R0lGODlh", "ftp://x/a", "file:///etc/passwd"):
        assert asyncio.run(resolve(text, limits(server))) == text


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "localhost", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "0.0.0.0"),
        *("[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]"),
        *("localhost.", "LOCALHOST", "10.0.0.1", "169.254.169.254", "100.64.0.1", "192.168.0.1"),
    ],
)
def test_this_machine_and_its_network_are_never_asked(
    server: ThreadingHTTPServer, host: str
) -> None:
    assert refusal(url(server, SECRET, host), limits(server)).code in {"url_refused", "url_failed"}
    assert not server.asked  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        *((address, True) for address in ("8.8.8.8", "1.1.1.1", "2606:4700:4700::1111")),
        *((f"{first}.1.2.3", False) for first in (0, 10, 127, 224, 239, 240, 255)),
        *(("172.16.0.1", False), ("172.31.255.255", False), ("192.168.1.1", False)),
        *(("168.63.129.16", False), ("192.0.0.192", False), ("100.100.100.200", False)),
        *(("169.254.169.254", False), ("100.64.0.1", False), ("100.127.255.255", False)),
        *(("192.0.2.1", False), ("198.18.0.1", False), ("203.0.113.5", False)),
        *(("::", False), ("::1", False), ("fe80::1", False), ("fc00::1", False)),
        *(("fd00:ec2::254", False), ("ff02::1", False), ("fec0::1", False)),
        *(("::ffff:8.8.8.8", False), ("::8.8.8.8", False), ("64:ff9b::808:808", False)),
        *(("64:ff9b:1::a00:1", False), ("2002:7f00:1::", False), ("2001:0:7f00:1::", False)),
        *(("2001:db8::1", False),),
    ],
)
def test_public_is_what_the_whole_internet_reaches(address: str, expected: bool) -> None:
    assert is_public(ip_address(address)) is expected


def test_a_name_with_one_near_address_is_refused(
    server: ThreadingHTTPServer, public: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = [(socket.AF_INET, 1, 6, "", (each, 0)) for each in ("127.0.0.1", "10.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: both)
    error = refusal(url(server, host="example.org"), limits(server))
    assert error.code == "url_refused" and not server.asked  # type: ignore[attr-defined]


def test_connects_to_the_address_that_was_checked(
    server: ThreadingHTTPServer, public: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def first_public_then_near(host: Any, *_: Any, **__: Any) -> list[Any]:
        name = host.decode() if isinstance(host, bytes) else host
        if name != "127.0.0.1":  # only names are looked up
            asked.append(name)
        where = "127.0.0.1" if len(asked) == 1 else "127.0.0.2"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (where, server.server_port))]

    monkeypatch.setattr(socket, "getaddrinfo", first_public_then_near)
    got = asyncio.run(resolve(url(server, host="example.org"), limits(server)))
    assert got == CONTENT and asked == ["example.org"]
    host = f"example.org:{server.server_port}"
    assert server.asked == [("/a.gif", host)]  # type: ignore[attr-defined]


def test_redirects_are_followed_and_each_is_checked(
    server: ThreadingHTTPServer, public: None
) -> None:
    allowed = limits(server)
    assert asyncio.run(resolve(url(server, "to//a.gif"), allowed)) == CONTENT
    near = refusal(url(server, f"to/{url(server, SECRET, '127.0.0.2')}"), allowed)
    file = refusal(url(server, "to/file:///etc/passwd"), allowed)
    port = refusal(url(server, "to/http://127.0.0.1:1/"), allowed)
    assert {near.code, file.code, port.code} == {"url_refused"}
    assert "more than 3 times" in refusal(url(server, "again"), allowed).detail


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("missing", "status 404"),
        ("text", "Content-Type"),
        ("squeezed", "compressed"),
        ("endless", "max_url_bytes"),
    ],
)
def test_what_is_no_media_file_is_refused(
    server: ThreadingHTTPServer, public: None, path: str, words: str
) -> None:
    error = refusal(url(server, path), limits(server, max_url_bytes=5000))
    assert error.code == "url_failed" and words in error.detail


def test_the_time_is_limited_however_the_bytes_drip(
    server: ThreadingHTTPServer, public: None
) -> None:
    begun = time.monotonic()
    error = refusal(url(server, "slow"), limits(server, url_seconds=0.5))
    # all of it takes five
    assert "0.5 seconds" in error.detail and time.monotonic() - begun < 4


def test_hosts_ports_and_credentials(server: ThreadingHTTPServer, public: None) -> None:
    only = limits(server, url_hosts=["example.org", ".example.net"])
    for host in ("127.0.0.1", "sub.example.org", "example.net", "notexample.net", "example.org.x"):
        assert "url_hosts" in refusal(url(server, host=host), only).detail
    allowed = limits(server, url_hosts=["127.0.0.1"])
    assert asyncio.run(resolve(url(server), allowed)) == CONTENT
    assert "port" in refusal("http://127.0.0.1/a.gif", allowed).detail
    assert "password" in refusal(url(server, host=f"me:{SECRET}@127.0.0.1"), allowed).detail
    for broken in ("http://", "http:///x", "https:x", "http://[::1", "http://a b/", "http://\x00/"):
        assert refusal(broken, limits(server, url_ports=[80, 443])).code.startswith("url_")


def test_no_proxy_of_the_environment_is_asked(
    server: ThreadingHTTPServer, public: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert asyncio.run(resolve(url(server), limits(server))) == CONTENT


def test_all_files_of_a_request_share_the_limit(server: ThreadingHTTPServer, public: None) -> None:
    def fetch(number: int) -> Callable[[], list[Any]]:
        inputs = ["R0lGODlh", *[url(server)] * number]
        allowed = limits(server, max_url_bytes=3 * len(CONTENT))
        return lambda: asyncio.run(resolve_inputs(inputs, allowed, soon()))

    assert fetch(3)() == ["R0lGODlh", CONTENT, CONTENT, CONTENT]
    with pytest.raises(ServiceError, match=r"inputs\[\d\]: .*max_url_bytes"):
        fetch(4)()


def test_an_image_inside_an_input_is_fetched(server: ThreadingHTTPServer, public: None) -> None:
    item = {"image": url(server), "text": "What is it?"}
    found = asyncio.run(resolve_inputs([item], limits(server), soon()))
    assert found == [{**item, "image": CONTENT}]


def test_requests_that_fetch_are_bounded_and_the_next_is_429(
    server: ThreadingHTTPServer, public: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "PLACES", asyncio.BoundedSemaphore(2))

    async def flood() -> list[Any]:
        inputs, allowed = [url(server, "slow")], limits(server, url_seconds=0.5)
        asked = [resolve_inputs(inputs, allowed, soon()) for _ in range(20)]
        return await asyncio.gather(*asked, return_exceptions=True)

    codes = [error.code for error in asyncio.run(flood())]
    assert codes == ["url_failed"] * 2 + ["overloaded"] * 18
    assert len(server.asked) <= 2  # type: ignore[attr-defined]
    assert asyncio.run(resolve_inputs([url(server)], limits(server), soon())) == [CONTENT]
    assert asyncio.run(resolve_inputs(["R0lGODlh"], limits(server), soon())) == ["R0lGODlh"]


def test_a_fetch_ends_with_the_requests_deadline(server: ThreadingHTTPServer, public: None) -> None:
    with pytest.raises(ServiceError) as raised:
        asyncio.run(resolve_inputs([url(server, "slow")], limits(server), soon(0.3)))
    assert (raised.value.status_code, raised.value.code) == (503, "deadline_exceeded")
