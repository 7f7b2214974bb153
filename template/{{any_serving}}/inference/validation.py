"""What is wrong with a request, in one sentence that never repeats what it held."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from pydantic import BaseModel, ValidationError

EMPTY = 'The body is empty; send JSON such as {"inputs": [...]}.'


def is_malformed(error: ValidationError) -> bool:
    """Whether the body is not even JSON."""
    return error.errors(include_url=False, include_input=False)[0]["type"] == "json_invalid"


def explain(error: ValidationError, model: type[BaseModel] | None = None) -> str:
    """The first thing that is wrong; `model` is what was asked for, and knows the keys."""
    problem = error.errors(include_url=False, include_input=False)[0]
    return sentence(problem, problem["loc"], model)


def sentence(
    problem: Mapping[str, Any],
    location: Sequence[str | int],
    model: type[BaseModel] | None = None,
) -> str:
    """One of pydantic's problems, without the value it is about; an unknown key is input too."""
    match problem["type"]:
        case "json_invalid":
            return f"The body is not valid JSON: {problem['ctx']['error']}."
        case "extra_forbidden":
            keys = _known_keys(model, location[:-1]) if model else []
            known = f"known are {', '.join(keys)}" if keys else "/docs lists the known"
            return f"There is an unknown key in {_place(location[:-1])}; {known}."
        case "union_tag_invalid":  # the message repeats the value
            names = problem["ctx"]
            key = names["discriminator"].replace("'", "`")
            return f"{_place(location)}: {key} must be one of {names['expected_tags']}."
        case "too_short" if tuple(location) == ("inputs",):
            return "inputs: give at least one input."
        case "list_type" if tuple(location) == ("inputs",):
            return 'inputs: send a list: {"inputs": [...]}.'
        case "missing" if not location:
            return EMPTY
        case "missing":
            return f"{_place(location)} is missing."
    if not location:
        return "The body is not a JSON object; send it with Content-Type: application/json."
    return f"{_place(location)}: {problem['msg'][0].lower()}{problem['msg'][1:]}."


def _known_keys(model: type[BaseModel], location: Sequence[str | int]) -> list[str]:
    """What a place in a request may hold; empty where several forms are possible."""
    schema = _schema(model)
    at = schema
    for step in location:
        inner = at.get("items") if isinstance(step, int) else at.get("properties", {}).get(step)
        at = inner if isinstance(inner, dict) else {}
        at = schema.get("$defs", {}).get(at.get("$ref", "").rpartition("/")[2], at)
    return list(at.get("properties", {}))


@cache
def _schema(model: type[BaseModel]) -> dict[str, Any]:
    return model.model_json_schema()


def _place(location: Sequence[str | int]) -> str:
    steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in location)
    return "".join(steps).lstrip(".") or "the body"
