"""What every route that computes does with its request: its deadline, a client that leaves."""

from __future__ import annotations

import asyncio
import time
from types import TracebackType

from fastapi import Request
from starlette.datastructures import Headers

from .errors import ClientGoneError, ServiceError

WATCH_AFTER_SECONDS = 0.02  # most answers are there before, and need nobody to watch
DEADLINE_HEADER = "x-request-timeout"
JSON = "application/json"


def deadline_of(headers: Headers, longest_seconds: float) -> float:
    """When the answer is of no more use, as time.monotonic().

    The client may shorten it with X-Request-Timeout, in seconds. Raises ServiceError.
    """
    asked = headers.get(DEADLINE_HEADER)
    seconds = longest_seconds
    if asked is not None:
        try:
            seconds = float(asked)
        except ValueError:
            seconds = -1.0
        if not 0 < seconds < float("inf"):
            message = "X-Request-Timeout is a number of seconds, such as 2.5."
            raise ServiceError(400, "invalid_timeout", message)
    return time.monotonic() + min(seconds, longest_seconds)


def require_json(headers: Headers) -> None:
    """Raise ServiceError for a body that is not announced as JSON.

    Browsers send any other type to this service in the name of whatever page is open, unasked.
    """
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != JSON and not (kind.startswith("application/") and kind.endswith("+json")):
        message = "The body is not JSON; send it with Content-Type: application/json."
        raise ServiceError(422, "invalid_request", message)


class WhileConnected:
    """`async with WhileConnected(request):` cancels what is in it when the client leaves.

    It then raises ClientGoneError. The body must have been read before.
    """

    def __init__(self, request: Request) -> None:
        self._receive = request.receive
        self._watcher: asyncio.Task[None] | None = None
        self._gone = False

    async def __aenter__(self) -> None:
        """Begin to watch in a moment."""
        self._task = asyncio.current_task()
        self._timer = asyncio.get_running_loop().call_later(WATCH_AFTER_SECONDS, self._watch)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop watching."""
        self._timer.cancel()
        if self._watcher:
            self._watcher.cancel()
        if self._gone and kind is asyncio.CancelledError:
            if self._task:
                self._task.uncancel()
            raise ClientGoneError from None

    def _watch(self) -> None:
        self._watcher = asyncio.get_running_loop().create_task(self._cancel_when_gone())

    async def _cancel_when_gone(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._gone = True
        if self._task:
            self._task.cancel()
