"""Connections whose clients must send the head of a request soon, and take what they get."""

from __future__ import annotations

import asyncio
import json
from typing import ClassVar

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES = 65_536  # what one read brings may be a few times more
TOO_LONG = {"error": {"code": "head_too_large", "message": "The request's headers are too long."}}


class Connection(HttpToolsProtocol):
    """Uvicorn's, which waits for ever for a head and for a client that does not read its answer.

    It also keeps a head of any length in memory.
    """

    head_seconds: ClassVar[float] = 15.0
    reading_seconds: ClassVar[float] = 30.0
    """How long a client may take nothing of an answer that fills the buffers."""

    _in_head = True
    _head_bytes = 0
    _timer: asyncio.TimerHandle | None = None
    _full: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first head."""
        super().connection_made(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        self._cancel()
        self._is_read()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """Begin to wait for the rest of a head."""
        super().on_message_begin()
        self._in_head, self._head_bytes = True, 0
        self._wait()

    def on_headers_complete(self) -> None:
        """The body has limits of its own."""
        self._in_head = False
        self._cancel()
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        """Read on, unless it is too much."""
        super().data_received(data)
        self._head_bytes += len(data)
        if self._in_head and self._head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            body = json.dumps(TOO_LONG).encode()
            head = (
                "HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\n"
                f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
            )
            self.transport.write(head.encode() + body)
            self.transport.close()

    def pause_writing(self) -> None:
        """The buffers are full: begin to wait for the client."""
        super().pause_writing()
        self._is_read()
        self._full = self.loop.call_later(self.reading_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """It reads on."""
        self._is_read()
        super().resume_writing()

    def _is_read(self) -> None:
        if self._full:
            self._full.cancel()

    def _wait(self) -> None:
        self._cancel()
        self._timer = self.loop.call_later(self.head_seconds, self._close)

    def _cancel(self) -> None:
        if self._timer:
            self._timer.cancel()

    def _close(self) -> None:
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()
        else:  # an answer is on its way to who has begun the next request
            self._wait()
