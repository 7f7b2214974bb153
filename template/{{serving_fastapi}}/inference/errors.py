"""What goes wrong in a request: `{"error": {"code", "message"}}`, a sentence without the input."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from .project import UserError


class ServiceError(HTTPException):
    """A request that is answered with `status` and a sentence."""

    def __init__(
        self, status: int, code: str, message: str, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(status, message, headers)
        self.code = code

    def response(self) -> JSONResponse:
        """Render as the service's one form of error."""
        body = {"error": {"code": self.code, "message": self.detail}}
        return JSONResponse(body, self.status_code, self.headers)


def unavailable(code: str, message: str, retry_after_s: int = 1) -> ServiceError:
    """503, with the seconds after which to try again."""
    return ServiceError(503, code, message, {"Retry-After": str(retry_after_s)})


def add_error_handlers(app: FastAPI) -> None:
    """Answer every expected error in the service's form."""

    @app.exception_handler(ServiceError)
    async def _service(_: Request, error: ServiceError) -> JSONResponse:
        return error.response()

    @app.exception_handler(UserError)
    async def _bad_input(_: Request, error: UserError) -> JSONResponse:
        return ServiceError(422, "invalid_input", " ".join(str(error).split())).response()

    @app.exception_handler(RequestValidationError)
    async def _bad_request(_: Request, error: RequestValidationError) -> JSONResponse:
        problem = error.errors()[0]
        status = 400 if problem["type"] == "json_invalid" else 422
        return ServiceError(status, "invalid_request", _sentence(problem)).response()

    @app.exception_handler(HTTPException)
    async def _http(_: Request, error: HTTPException) -> JSONResponse:
        known = {
            400: ("invalid_request", "The body is not valid JSON."),
            404: ("not_found", "There is nothing at this path; /docs lists what there is."),
            405: ("method_not_allowed", "This path does not take this method; see /docs."),
        }
        code, message = known.get(error.status_code, ("http_error", "The request was refused."))
        return ServiceError(error.status_code, code, message).response()


def _sentence(problem: dict[str, Any]) -> str:
    """Pydantic's complaint without the value it is about; an unknown key is input too."""
    location = problem["loc"][1:]
    match problem["type"]:
        case "json_invalid":
            return f"The body is not valid JSON (at character {problem['loc'][-1]})."
        case "extra_forbidden":
            return f"There is an unknown key in {_place(location[:-1])}; /docs lists the known."
        case "missing" if not location:
            return 'The body is empty; send JSON such as {"inputs": [...]}.'
        case "missing":
            return f"{_place(location)} is missing."
    if not location:
        return "The body is not a JSON object; send it with Content-Type: application/json."
    return f"{_place(location)}: {problem['msg'][0].lower()}{problem['msg'][1:]}."


def _place(location: Sequence[str | int]) -> str:
    steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in location)
    return "".join(steps).lstrip(".") or "the body"
