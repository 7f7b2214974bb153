"""Around every request: its id, its log line, the limit of its body, and the last resort."""

from __future__ import annotations

import logging
import re
import time
import uuid
from collections.abc import Callable

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .errors import ServiceError
from .logs import request_id

logger = logging.getLogger(__name__)
access = logging.getLogger("inference.access")

DISCARD_BYTES = 16 * 2**20
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")


class RequestMiddleware:
    """The outermost layer: no request ends without an id and an answer in our form."""

    def __init__(self, app: ASGIApp, access_log: bool, draining: Callable[[], bool]) -> None:
        self._app = app
        self._access_log = access_log
        self._draining = draining

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; an unexpected exception becomes a 500 without its text."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "")
        identity = given if REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        token = request_id.set(identity)
        begun, status = time.monotonic(), 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["X-Request-ID"] = identity
                if self._draining():
                    headers["Connection"] = "close"  # the client's next request goes elsewhere
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        except Exception:
            logger.exception("request failed")
            if not status:
                message = "The prediction failed; the service's log has the reason under this id."
                error = ServiceError(500, "internal_error", message)
                await error.response()(scope, receive, send_with_id)
        finally:
            if self._access_log:
                # Only the path of a known route: any other path is the client's own text.
                path = scope["path"] if "route" in scope else "-"
                seconds = round(time.monotonic() - begun, 4)
                fields = {"method": scope["method"], "path": path, "status": status}
                fields["seconds"] = seconds
                access.info("request", extra={"fields": fields})
            request_id.reset(token)


class BodyLimitMiddleware:
    """Refuses a body of more than `max_bytes` with 413, announced or not.

    FastAPI's own `max_body_size` answers in plain text, and so outside our form of error.
    """

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check the announced length, then count what arrives."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        message = f"The body is larger than {self._max_bytes} bytes; send fewer inputs at a time."
        too_large = ServiceError(413, "body_too_large", message, {"Connection": "close"})
        received = 0

        async def counted_receive() -> Message:
            nonlocal received
            event = await receive()
            received += len(event.get("body", b""))
            if received > self._max_bytes:
                if event.get("more_body"):
                    await _discard(receive)
                raise too_large
            return event

        headers = Headers(scope=scope)
        if int(headers.get("content-length", 0)) > self._max_bytes:
            if headers.get("expect", "").lower() != "100-continue":
                await _discard(receive)
            await too_large.response()(scope, receive, send)
        else:
            await self._app(scope, counted_receive, send)


async def _discard(receive: Receive) -> None:
    """Read on for a while: a client that is cut off while sending never sees the answer."""
    left = DISCARD_BYTES
    while left > 0:
        event = await receive()
        left -= len(event.get("body", b""))
        if not event.get("more_body"):
            return
