"""What goes wrong in a request: `{"error": {"code", "message"}}`, a sentence without the input."""

from __future__ import annotations

import math
from collections.abc import Mapping

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

from .project import UserError
from .validation import sentence

LONGEST_RETRY_SECONDS = 60


class ServiceError(HTTPException):
    """A request that is answered with `status` and a sentence."""

    def __init__(
        self, status: int, code: str, message: str, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(status, message, headers)
        self.code = code

    def response(self) -> JSONResponse:
        """Render as the service's one form of error."""
        let_go(self)
        body = {"error": {"code": self.code, "message": self.detail}}
        return Refusal(body, self.status_code, self.headers, code=self.code)


class Refusal(JSONResponse):
    """Leaves its code in the scope, where the metrics find it."""

    def __init__(
        self, content: object, status: int, headers: Mapping[str, str] | None, *, code: str
    ) -> None:
        super().__init__(content, status, headers)
        self._code = code

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the answer."""
        scope["error_code"] = self._code
        await super().__call__(scope, receive, send)


class ClientGoneError(Exception):
    """The client has left: there is nobody to answer."""


def bad_input(error: UserError) -> ServiceError:
    """422, with the sentence of whoever read the input."""
    let_go(error)
    return ServiceError(422, "invalid_input", " ".join(str(error).split()))


def unavailable(code: str, message: str, retry_after_s: float = 1) -> ServiceError:
    """503, with the seconds after which to try again."""
    return ServiceError(503, code, message, _retry_after(retry_after_s))


def overloaded(retry_after_s: float = 1) -> ServiceError:
    """429, with the seconds after which to try again."""
    message = "Too many inputs wait for the model; try again later."
    return ServiceError(429, "overloaded", message, _retry_after(retry_after_s))


def deadline_exceeded() -> ServiceError:
    """503: no answer was ready in time."""
    return unavailable("deadline_exceeded", "The time ran out before there was an answer.")


def out_of_memory() -> ServiceError:
    """503: the work does not fit into memory, not even in part."""
    message = "The model's memory does not suffice for this; send less, or try again later."
    return unavailable("out_of_memory", message, retry_after_s=5)


def _retry_after(seconds: float) -> dict[str, str]:
    return {"Retry-After": str(min(LONGEST_RETRY_SECONDS, max(1, math.ceil(seconds))))}


def add_error_handlers(app: FastAPI) -> None:
    """Answer every expected error in the service's form."""

    @app.exception_handler(ServiceError)
    async def _service(_: Request, error: ServiceError) -> JSONResponse:
        return error.response()

    @app.exception_handler(UserError)
    async def _bad_input(_: Request, error: UserError) -> JSONResponse:
        return bad_input(error).response()

    @app.exception_handler(RequestValidationError)
    async def _bad_request(_: Request, error: RequestValidationError) -> JSONResponse:
        problem = error.errors()[0]
        status = 400 if problem["type"] == "json_invalid" else 422
        place = problem["loc"][1:]  # after "body"
        return ServiceError(status, "invalid_request", sentence(problem, place)).response()

    @app.exception_handler(HTTPException)
    async def _http(_: Request, error: HTTPException) -> JSONResponse:
        known = {
            400: ("invalid_request", "The body is not valid JSON."),
            404: ("not_found", "There is nothing at this path; /openapi.json lists what there is."),
            405: ("method_not_allowed", "This path does not take this method; see /openapi.json."),
        }
        code, message = known.get(error.status_code, ("http_error", "The request was refused."))
        return ServiceError(error.status_code, code, message).response()


def let_go(error: BaseException | None) -> None:
    """Drop the frames of an error that is answered, and with them the input.

    A future, the error it holds and the frame that awaits it refer to each other: the megabytes of
    a decoded image would stay until a full garbage collection, which is rare.
    """
    while error is not None:
        error.__traceback__ = None
        error = error.__context__
