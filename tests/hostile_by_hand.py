"""Hostile requests that somebody has thought of: heads, lengths, encodings, JSON, files."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterator
from typing import Any

from hostile import CANARY, NEW_TOKENS, TEXTS, Hostile, http
from hostile_media import ADDRESSES

STOPS = ("", " ", "\n", "a", "e", "\0", "\ud800", "�", "</s>", "<|im_end|>", "a" * 200, "a" * 201)
METHODS = ("GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "POST", "post", "QUERY")


def bodies(example: dict[str, Any]) -> Iterator[tuple[str, bytes]]:
    """Broken, huge and ambiguous JSON."""
    good = json.dumps(example).encode()
    key = next(iter(example))
    yield "empty", b""
    yield "blank", b" \n"
    for text in ("null", "true", "0", '""', "[]", "{}", "[[]]", '"' + CANARY + '"'):
        yield "another type", text.encode()
    for text in ("{", "[", '"', "}", "nul", "NaN", "Infinity", "{'a': 1}", "{a: 1}", "// x\n{}"):
        yield "no JSON", f"{text}{CANARY}".encode()
    yield "cut", good[:-1]
    yield "two", good + good
    yield "a comma more", good[:-1] + b",}"
    for depth in (500, 100_000):
        yield "nested lists", b"[" * depth + b"]" * depth
        yield "nested objects", b'{"a":' * depth + b"1" + b"}" * depth
        inner = b"[" * depth + b"]" * depth
        yield "nested inside", b'{"' + key.encode() + b'":' + inner + b"}"
    yield "a long number", b'{"options":{"seed":' + b"9" * 200_000 + b"}}"
    yield "a long fraction", b'{"options":{"temperature":0.' + b"1" * 200_000 + b"}}"
    yield "an exponent", b'{"options":{"seed":1e99999}}'
    yield "no number", good[:-1] + b',"options":{"temperature":NaN,"seed":-Infinity}}'
    yield "a key twice", b"{" + good[1:-1] + b"," + good[1:]
    yield "a byte order mark", b"\xef\xbb\xbf" + good
    yield "UTF-16", good.decode().encode("utf-16")
    yield "UTF-32", good.decode().encode("utf-32-le")
    yield "no UTF-8", good.replace(b'"', b'"\xff\xc0\xaf', 3)
    yield "a lone surrogate as bytes", good.replace(b'"', b'"\xed\xa0\x80', 3)
    yield "many keys", json.dumps({f"{CANARY}{i}": i for i in range(20_000)}).encode()
    yield "a long key", b'{"' + b"k" * 500_000 + b'":1}'
    yield "too large", b'{"inputs":["' + b"x" * 3_000_000 + b'"]}'
    yield "far too large", b'{"inputs":["' + b"x" * 20_000_000 + b'"]}'
    yield "many", json.dumps({key: [0] * 100_000}).encode()
    if "inputs" in example:
        yield "many inputs", json.dumps({"inputs": example["inputs"] * 2_000}).encode()
        yield "65 inputs", json.dumps({"inputs": (example["inputs"] * 65)[:65]}).encode()
    for stop in STOPS:
        yield "a stop text", json.dumps({**example, "stop": stop, "max_tokens": 9}).encode()
        options = {"stop": [stop] * 4, "max_new_tokens": 9}
        yield "stop texts", json.dumps({**example, "options": options}).encode()
    for seed in (-1, 0, 2**32, 2**63 - 1, 2**64, 0.5, "1", None, True):
        for temperature in (0, 1e-9, 1e-320, 2, 2.1, -0.0, "0", None):
            drawn = {"seed": seed, "temperature": temperature, "top_p": 1e-9}
            yield "draws", json.dumps({**example, **drawn, "max_tokens": NEW_TOKENS}).encode()
            drawn["max_new_tokens"] = NEW_TOKENS
            yield "draws", json.dumps({**example, "options": drawn}).encode()


def framings(path: str, good: bytes) -> Iterator[Hostile]:
    """What is wrong around a body that is right: heads, lengths, encodings, several at once."""

    def post(*headers: str, kind: str = "application/json") -> bytes:
        return http("POST", path, good, *headers, kind=kind)

    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n".encode()
    json_head = head + b"Content-Type: application/json\r\n"
    length = f"Content-Length: {len(good)}\r\n".encode()
    for kind in (
        "",
        "text/plain",
        "multipart/form-data",
        "application/xml",
        "a" * 5000,
        "/",
        ";;;",
    ):
        yield Hostile(post(kind=kind), "a content type")
    for kind in ("charset=utf-16", "charset=" + CANARY, "boundary=x"):
        yield Hostile(post(kind=f"application/json; {kind}"), "a content type")
    for coding in ("gzip", "deflate", "br", "zstd", "gzip, gzip, gzip", CANARY):
        packed = gzip.compress(good)
        coded = http("POST", path, packed, f"Content-Encoding: {coding}")
        yield Hostile(coded, "a compressed body")
    bomb = gzip.compress(bytes(50_000_000))
    yield Hostile(http("POST", path, bomb, "Content-Encoding: gzip"), "a bomb")
    for seconds in ("nan", "inf", "-1", "0", "1e400", "0x10", CANARY, "", "1e-9", "9" * 400, "1_0"):
        yield Hostile(post(f"X-Request-Timeout: {seconds}"), "a deadline")
    for identity in (CANARY + "!", "a" * 9000, "x y", "%0d%0aX: y", "ÿ", "", "."):
        yield Hostile(post(f"X-Request-ID: {identity}"), "an id")
    for key in ("Bearer", f"Bearer {CANARY}", "Basic eA==", "Bearer " + "k" * 9000, "ÿþ"):
        yield Hostile(post(f"Authorization: {key}"), "a key")
    yield Hostile(post("Expect: 100-continue"), "expects")
    yield Hostile(post(f"Expect: {CANARY}"), "expects")
    yield Hostile(post("Upgrade: websocket", "Sec-WebSocket-Version: 13"), "an upgrade")
    yield Hostile(post("Connection: upgrade, HTTP2-Settings", "Upgrade: h2c"), "an upgrade")
    yield Hostile(post(*[f"X-{i}: {CANARY}" for i in range(2_000)]), "many headers", True)
    yield Hostile(post("X: " + "h" * 2_000_000), "a long header", True)
    yield Hostile(post("Cookie: " + "a=b; " * 20_000), "cookies", True)
    yield Hostile(post(f"X-\0{CANARY}: \x01"), "a header with control characters", True)
    yield Hostile(http("POST", path + "?" + "q" * 200_000, good), "a long path", True)
    for number in ("-1", "+5", "0x10", "1e3", "9" * 40, CANARY, "", "1,2", f"{len(good)}, 3"):
        bad_length = json_head + f"Content-Length: {number}\r\n\r\n".encode() + good
        yield Hostile(bad_length, "a false length", True)
    yield Hostile(json_head + length * 2 + b"\r\n" + good, "two lengths", True)
    yield Hostile(json_head + length + b"Content-Length: 3\r\n\r\n" + good, "two lengths", True)
    yield Hostile(json_head + b"Content-Length: 9999\r\n\r\n" + good, "a body cut off", True)
    chunked = json_head + b"Transfer-Encoding: chunked\r\n"
    size = f"{len(good):x}\r\n".encode()
    yield Hostile(chunked + b"\r\n" + size + good + b"\r\n0\r\n\r\n", "chunks")
    one_by_one = b"".join(b"1\r\n" + bytes([each]) + b"\r\n" for each in good[:5000])
    yield Hostile(chunked + b"\r\n" + one_by_one + b"0\r\n\r\n", "small chunks", True)
    for line in (b"zz", b"-1", b"F" * 16, b"F" * 17, b"", b"5;" + b"x" * 99_999, b"0x5", b"\0"):
        yield Hostile(chunked + b"\r\n" + line + b"\r\n" + good, "a false chunk", True)
    yield Hostile(chunked + length + b"\r\n" + size + good + b"\r\n0\r\n\r\n", "both", True)
    yield Hostile(chunked + b"\r\n5\r\nabc", "a chunk cut off", True)
    long = b"10000\r\n" + b" " * 65536 + b"\r\n"
    yield Hostile(chunked + b"\r\n" + long * 300 + b"0\r\n\r\n", "endless chunks", True)
    for encoding in (b"gzip", b"chunked, chunked", b"identity", b"x" * 999, b"chunked\x0b"):
        coded = json_head + b"Transfer-Encoding: " + encoding + b"\r\n\r\n"
        yield Hostile(coded + size + good + b"\r\n0\r\n\r\n", "a coding", True)
    yield Hostile(post().replace(b"Connection: close\r\n", b"", 1) + post(), "pipelined")
    yield Hostile(post() + b"GET /" + CANARY.encode() + b" HTTP/1.1\r\n\r\n", "smuggled")
    yield Hostile(post().replace(b"\r\n", b"\n"), "bare line feeds", True)
    yield Hostile(post().replace(b"Host: 127.0.0.1\r\n", b""), "no host", True)
    yield Hostile(post().replace(b"HTTP/1.1", b"HTTP/1.0"), "an old version")
    for version in (b"HTTP/9.9", b"HTTP/2", b"HTP/1.1", b"", b"HTTP/1.1 " + b"x" * 999):
        yield Hostile(post().replace(b"HTTP/1.1", version), "a version", True)


def heads(path: str) -> Iterator[Hostile]:
    """Methods and paths, and what is no HTTP at all."""
    for method in (*METHODS, "CONNECT", "BREW", "A" * 5000, "P\0ST", ""):
        for target in (path, "/healthz", "/metrics", f"/{CANARY}", "*", ""):
            odd = method not in METHODS or not target.startswith("/")
            yield Hostile(http(method, target), f"{method[:9]} {target}", odd or method == "post")
    for target in (
        *("//v1/predict", "/v1/../healthz", "/v1/predict/", "/v1//predict", "/V1/PREDICT"),
        *("/%2e%2e/%2e%2e/etc/passwd", "/..%2f..%2fetc/passwd", "/....//etc/passwd", "/%00"),
        *("/static/../../inference/settings.py", "/page/../app.py", "/page//etc/passwd", "/;x"),
        *("/%", "/%zz", "/%ff%fe", "/\u00e9", "/?a[]=b&__proto__[x]=1", "/#x", "/docs/../openapi"),
        *("/.env", "/.git/config", "/admin", "/admin/reload", "/admin/rollback", "/debug", "/~"),
        *("http://169.254.169.254/latest", "https://127.0.0.1/", "/" + "a/" * 5000),
        *("/healthz?" + "x=1&" * 9000, f"/v1/models/{CANARY}", "/page/%2e%2e%2f%2e%2e%2fapp.py"),
    ):
        for method in ("GET", "POST"):
            yield Hostile(http(method, target, b"{}"), f"path {target[:40]}", True)
    for content in (
        *(b"\0", b"\r\n" * 500, b"\xff" * 5000, b"GET", b"GET /healthz\r\n", b"hello\r\n\r\n"),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\x12\4\0\0\0\0\0",
        b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03" + b"\x11" * 300,
        b"GET / HTTP/1.1\r\nHost: x\r\n folded: y\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost x\r\n\r\n",
        b"GET / HTTP/1.1\r\n: x\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.9\r\n",
        b"\x03\0\0\x13\x0e\xe0\0\0\0\0\0\1\0\x08\0\3\0\0\0",
        b"*1\r\n$4\r\nINFO\r\n",
    ):
        yield Hostile(content, "no HTTP", True)


def by_hand(
    examples: dict[str, dict[str, Any]], files: list[bytes], port: int
) -> Iterator[Hostile]:
    """Everything above, once for each route that takes a body."""
    for path, example in examples.items():
        good = json.dumps(example).encode()
        yield from heads(path)
        yield from framings(path, good)
        for what, body in bodies(example):
            # of what is far too large, not all is read before the connection is closed
            yield Hostile(http("POST", path, body), what, len(body) > 16_000_000)
        for text in [*TEXTS, *(each.replace("{port}", str(port)) for each in ADDRESSES)]:
            for changed in replaced(example, text):
                yield Hostile(http("POST", path, json.dumps(changed).encode()), "a text")
        for content in files:
            yield from by_file(path, example, content)


def by_file(path: str, example: dict[str, Any], content: bytes) -> Iterator[Hostile]:
    """The example with this file in the place of its own."""
    text = base64.b64encode(content).decode()
    for changed in replaced(example, text, only_media=True):
        yield Hostile(http("POST", path, json.dumps(changed).encode()), "a file")


def replaced(example: Any, text: str, only_media: bool = False) -> Iterator[Any]:
    """The example with this text in the place of each of the first input's own texts."""
    if isinstance(example, str):
        yield f"data:;base64,{text}" if only_media and example.startswith("data:") else text
    elif isinstance(example, list) and example:
        for changed in replaced(example[0], text, only_media):
            yield [changed, *example[1:2]]
    elif isinstance(example, dict):
        for key, value in example.items():
            if isinstance(value, str | list | dict) and key not in ("role", "type", "options"):
                if only_media and isinstance(value, str) and len(value) < 60:
                    continue
                for changed in replaced(value, text, only_media):
                    yield {**example, key: changed}
