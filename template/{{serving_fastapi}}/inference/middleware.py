"""Around every request: its id, its log line and numbers, the limits of its body."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Callable
from contextlib import suppress
from random import getrandbits

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .errors import ClientGoneError, ServiceError, unavailable
from .logs import request_id
from .metrics import Metrics

logger = logging.getLogger(__name__)
access = logging.getLogger("inference.access")

DISCARD_BYTES = 16 * 2**20
CLIENT_GONE = 499  # in logs and metrics; nobody gets it
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")


class RequestMiddleware:
    """The outermost layer: no request ends without an id and an answer in our form."""

    def __init__(
        self, app: ASGIApp, metrics: Metrics, access_log: bool, draining: Callable[[], bool]
    ) -> None:
        self._app = app
        self._metrics = metrics
        self._access_log = access_log
        self._draining = draining

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; an unexpected exception becomes a 500 without its text."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "")
        identity = given if REQUEST_ID.fullmatch(given) else f"{getrandbits(128):032x}"
        token = request_id.set(identity)
        begun, status = time.monotonic(), 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                ms = 1000 * (time.monotonic() - begun)
                headers = [
                    *message["headers"],
                    (b"x-request-id", identity.encode()),
                    (b"server-timing", b"total;dur=%.1f" % ms),
                ]
                if self._draining():
                    headers.append((b"connection", b"close"))  # the next goes elsewhere
                message["headers"] = headers
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        except (ClientGoneError, ClientDisconnect):  # the latter while the body was read
            status = status or CLIENT_GONE
        except asyncio.CancelledError:  # the server's: its time to end is over
            if status:
                raise
            error = unavailable("draining", "The service stops; ask another replica.")
            await error.response()(scope, receive, send_with_id)
        except Exception:
            logger.exception("request failed")
            if not status:
                message = "The prediction failed; the service's log has the reason under this id."
                error = ServiceError(500, "internal_error", message)
                await error.response()(scope, receive, send_with_id)
        finally:
            self._note(scope, status, time.monotonic() - begun)
            request_id.reset(token)

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        # Only the path of a known route: any other path is the client's own text.
        route = scope.get("route")
        path = route.path if route else "-"
        self._metrics.requests.labels(path, status).inc()
        self._metrics.request_seconds.labels(path).observe(seconds)
        if "error_code" in scope:
            self._metrics.errors.labels(scope["error_code"]).inc()
        if self._access_log:
            fields = {"method": scope["method"], "path": path, "status": status}
            fields["seconds"] = round(seconds, 4)
            access.info("request", extra={"fields": fields})


class BodyLimitMiddleware:
    """Refuses a body of more than `max_bytes` with 413, announced or not; 408 for a slow one.

    FastAPI's own `max_body_size` answers in plain text, and so outside our form of error.
    """

    def __init__(self, app: ASGIApp, max_bytes: int, seconds: float) -> None:
        self._app = app
        self._seconds = seconds
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check the announced length, then count what arrives."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        message = f"The body is larger than {self._max_bytes} bytes; send fewer inputs at a time."
        too_large = ServiceError(413, "body_too_large", message, {"Connection": "close"})
        message = f"The body did not arrive within {self._seconds:g} seconds."
        too_slow = ServiceError(408, "body_too_slow", message, {"Connection": "close"})
        due = asyncio.get_running_loop().time() + self._seconds
        received, complete = 0, False

        async def counted_receive() -> Message:
            nonlocal received, complete
            if complete:
                return await receive()  # waits until the client leaves
            try:
                async with asyncio.timeout_at(due):
                    event = await receive()
            except TimeoutError:
                raise too_slow from None
            received += len(event.get("body", b""))
            complete = not event.get("more_body")
            if received > self._max_bytes:
                if event.get("more_body"):
                    await _discard(receive, due)
                raise too_large
            return event

        headers = Headers(scope=scope)
        if int(headers.get("content-length", 0)) > self._max_bytes:
            if headers.get("expect", "").lower() != "100-continue":
                await _discard(receive, due)
            await too_large.response()(scope, receive, send)
        else:
            await self._app(scope, counted_receive, send)


async def _discard(receive: Receive, due: float) -> None:
    """Read on for a while: a client that is cut off while sending never sees the answer."""
    left = DISCARD_BYTES
    with suppress(TimeoutError):
        async with asyncio.timeout_at(due):
            while left > 0:
                event = await receive()
                left -= len(event.get("body", b""))
                if not event.get("more_body"):
                    return
