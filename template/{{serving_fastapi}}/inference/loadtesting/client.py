"""A small HTTP/1.1 client whose own cost is low, so that it is the service which is measured."""

from __future__ import annotations

import asyncio
import json
import re
import ssl
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from ..project import ConfigError

LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
CHUNKED = re.compile(rb"\r\ntransfer-encoding: *chunked", re.IGNORECASE)
CLOSE = re.compile(rb"\r\nconnection: *close", re.IGNORECASE)
CONNECT_SECONDS = 10.0
READ_BYTES = 2**20


@dataclass(frozen=True)
class Target:
    """The service under test, and the headers of every request to it."""

    host: str
    port: int
    tls: bool = False
    prefix: str = ""
    headers: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, url: str, headers: tuple[tuple[str, str], ...] = ()) -> Target:
        """Read an http or https URL. Raises ConfigError."""
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise ConfigError(
                "--url is not a URL; give one such as http://127.0.0.1:8000"
            ) from None
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
            raise ConfigError("--url takes http://HOST:PORT or https://HOST, without a user name")
        tls = parts.scheme == "https"
        default = 443 if tls else 80
        return cls(parts.hostname, port or default, tls, parts.path.rstrip("/"), headers)

    def message(self, method: str, path: str, body: bytes = b"", **headers: str) -> bytes:
        """Return the bytes of a whole request."""
        lines = [f"{method} {self.prefix}{path} HTTP/1.1", f"Host: {self.host}:{self.port}"]
        lines += [f"{name}: {value}" for name, value in (*self.headers, *headers.items())]
        if body:
            lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


@dataclass
class Answer:
    """What came back; `chunks` are its pieces with the time of each, if it came in pieces."""

    status: int
    body: bytes
    chunks: list[tuple[float, bytes]] = field(default_factory=list)

    def json(self) -> Any:
        """The body's JSON, or None."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None

    @property
    def code(self) -> str:
        """The status, and the service's own word for what was wrong: `429 overloaded`."""
        body = self.json()
        error = body.get("error") if isinstance(body, dict) else None
        word = error.get("code") or error.get("type") if isinstance(error, dict) else None
        return f"{self.status} {str(word)[:40]}" if word else str(self.status)


class Connection:
    """One client's connection; it is made at the first request and kept.

    With `again`, a kept connection which the service had closed before a request is made anew.
    """

    def __init__(self, target: Target, again: bool = True) -> None:
        self._target = target
        self._again = again
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def ask(self, message: bytes) -> Answer:
        """Send one request and read its answer.

        Raises OSError or EOFError where the connection fails, ValueError where no HTTP comes back.
        """
        kept = self._writer is not None and self._again
        try:
            return await self._exchange(message)
        except asyncio.IncompleteReadError as error:
            self.close()
            if not kept or error.partial:
                raise
        except ConnectionError:
            self.close()
            if not kept:
                raise
        except BaseException:
            self.close()
            raise
        return await self._exchange(message)

    def close(self) -> None:
        """End the connection, as a client does that leaves."""
        if self._writer is not None:
            self._writer.close()
        self._reader = self._writer = None

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Make the connection, if there is none that is open. Raises OSError."""
        if self._reader is not None and self._reader.at_eof():
            self.close()
        if self._reader is None or self._writer is None:
            tls = ssl.create_default_context() if self._target.tls else None
            async with asyncio.timeout(CONNECT_SECONDS):
                self._reader, self._writer = await asyncio.open_connection(
                    self._target.host, self._target.port, ssl=tls, limit=READ_BYTES
                )
        return self._reader, self._writer

    async def _exchange(self, message: bytes) -> Answer:
        reader, writer = await self.connect()
        writer.write(message)
        head = await reader.readuntil(b"\r\n\r\n")
        if head[:7] != b"HTTP/1." or not head[9:12].isdigit():
            raise ConnectionError("what answers there does not speak HTTP/1.1")
        status = int(head[9:12])
        if CHUNKED.search(head):
            chunks = [chunk async for chunk in _chunks(reader)]
            answer = Answer(status, b"".join(data for _, data in chunks), chunks)
        else:
            length = LENGTH.search(head)
            answer = Answer(status, await reader.readexactly(int(length[1])) if length else b"")
        if CLOSE.search(head):
            self.close()
        return answer


async def _chunks(reader: asyncio.StreamReader) -> Any:
    while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
        data = await reader.readexactly(size + 2)
        yield time.perf_counter(), data[:-2]
    await reader.readuntil(b"\r\n")
