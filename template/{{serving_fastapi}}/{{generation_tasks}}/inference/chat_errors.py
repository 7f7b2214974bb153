"""Errors of the chat routes, in OpenAI's form."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from .errors import Refusal, ServiceError, let_go
from .generation import ContextLengthError
from .project import UserError
from .validation import explain

TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


def openai_error(error: Exception) -> Refusal:
    """Render an expected error; whose client raises BadRequestError, RateLimitError and so on."""
    refusal = _service_error(error)
    let_go(error)
    return Refusal(
        body(refusal, _param(error)), refusal.status_code, refusal.headers, code=refusal.code
    )


def body(error: ServiceError, param: str | None = None) -> dict[str, Any]:
    """The error object."""
    kind = "server_error" if error.status_code >= 500 else "invalid_request_error"
    content = {"message": error.detail, "type": TYPES.get(error.status_code, kind)}
    return {"error": content | {"param": param, "code": error.code}}


def _service_error(error: Exception) -> ServiceError:
    if isinstance(error, ServiceError):
        return error
    if isinstance(error, ValidationError):
        problem = _first(error)
        if problem["type"] == "value_error" and not problem["loc"]:
            return ServiceError(400, "unsupported_parameter", f"{problem['ctx']['error']}.")
        code = {"json_invalid": "invalid_json", "extra_forbidden": "unknown_parameter"}
        return ServiceError(400, code.get(problem["type"], "invalid_value"), explain(error))
    if isinstance(error, ContextLengthError):
        return ServiceError(400, "context_length_exceeded", _sentence(error))
    if isinstance(error, UserError):
        return ServiceError(400, "invalid_input", _sentence(error))
    raise error


def _param(error: Exception) -> str | None:
    """The field that is wrong; an unknown one is the client's own text."""
    if isinstance(error, UserError):
        return "messages"
    if isinstance(error, ValidationError) and _first(error)["type"] != "extra_forbidden":
        location = _first(error)["loc"]
        return str(location[0]) if location and isinstance(location[0], str) else None
    return None


def _first(error: ValidationError) -> Any:
    return error.errors(include_url=False, include_input=False)[0]


def _sentence(error: UserError) -> str:
    return " ".join(str(error).split())
