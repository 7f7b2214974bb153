"""What goes over the wire whatever the task; its own part is `schema.py` and `output.py`."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, FailFast, Field

from .output import EXAMPLE_OPTIONS, Options, Output
from .schema import EXAMPLE_INPUTS, EXAMPLE_OUTPUTS, Input

MAX_INPUTS = 64  # of one request, unless the service's settings say otherwise
EXAMPLE_RESPONSE: dict[str, Any] = {
    "outputs": EXAMPLE_OUTPUTS,
    "model": {
        "name": "my-run",
        "version": "0123456789ab",
        "digest": "sha256:0123456789ab" + 52 * "0",
    },
}
EXAMPLE_REQUEST: dict[str, Any] = {"inputs": EXAMPLE_INPUTS}
if EXAMPLE_OPTIONS:
    EXAMPLE_REQUEST["options"] = EXAMPLE_OPTIONS


class PredictRequest(BaseModel):
    """One or more inputs, answered in the same order."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [EXAMPLE_REQUEST]})

    # the first bad one is enough: a list of a million would take a second to complain of
    inputs: Annotated[list[Input], FailFast()] = Field(min_length=1)
    options: Options = Field(default_factory=Options)


class ModelInfo(BaseModel):
    """Which model answers; version and digest change with its weights."""

    name: str
    version: str
    digest: str


class PredictResponse(BaseModel):
    """One output for each input."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE_RESPONSE]})

    outputs: list[Output]
    model: ModelInfo


class Health(BaseModel):
    """The process answers."""

    status: str = "ok"


class Readiness(BaseModel):
    """The model is loaded, has predicted once, and takes requests."""

    status: str = "ready"
    model: ModelInfo


class ErrorDetail(BaseModel):
    """A code for programs and a sentence for people."""

    code: str
    message: str


class ErrorResponse(BaseModel):
    """The form of every error."""

    error: ErrorDetail
