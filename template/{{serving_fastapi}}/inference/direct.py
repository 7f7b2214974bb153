"""The one route that must be fast, without the layers that serve all others."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request
from fastapi.responses import Response
from fastapi.routing import APIRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from .errors import ServiceError, bad_input
from .project import UserError

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


def answered_by(handler: Handler) -> type[APIRoute]:
    """A class of routes whose requests go to `handler` as they came, in half of FastAPI's time.

    Their function is the documentation, and says what FastAPI would do in the handler's place.
    """

    class AnsweredRoute(APIRoute):
        def get_route_handler(self) -> Handler:
            return handler

    return AnsweredRoute


class DirectMiddleware:
    """Gives POST requests of one path to their handler; the rest go on to FastAPI.

    FastAPI's router, exit stacks and exception layers take as long as all else that is done for
    a request. The route is there too, for the documentation.
    """

    def __init__(self, app: ASGIApp, path: str, handler: Handler) -> None:
        self._app = app
        self._path = path
        self._handler = handler

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, errors in the service's form."""
        if scope["type"] != "http" or scope["path"] != self._path or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        scope["route"] = self
        try:
            response = await self._handler(Request(scope, receive, send))
        except ServiceError as error:
            response = error.response()
        except UserError as error:
            response = bad_input(error).response()
        await response(scope, receive, send)

    @property
    def path(self) -> str:
        """As a route has it, for logs and metrics."""
        return self._path
