"""What is wrong with a request, in one sentence that never repeats what it held."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

EMPTY = 'The body is empty; send JSON such as {"inputs": [...]}.'


def is_malformed(error: ValidationError) -> bool:
    """Whether the body is not even JSON."""
    return error.errors(include_url=False, include_input=False)[0]["type"] == "json_invalid"


def explain(error: ValidationError) -> str:
    """The first thing that is wrong."""
    problem = error.errors(include_url=False, include_input=False)[0]
    return sentence(problem, problem["loc"])


def sentence(problem: Mapping[str, Any], location: Sequence[str | int]) -> str:
    """One of pydantic's problems, without the value it is about; an unknown key is input too."""
    match problem["type"]:
        case "json_invalid":
            return f"The body is not valid JSON: {problem['ctx']['error']}."
        case "extra_forbidden":
            return f"There is an unknown key in {_place(location[:-1])}; /docs lists the known."
        case "union_tag_invalid":  # the message repeats the value
            names = problem["ctx"]
            key = names["discriminator"].replace("'", "`")
            return f"{_place(location)}: {key} must be one of {names['expected_tags']}."
        case "missing" if not location:
            return EMPTY
        case "missing":
            return f"{_place(location)} is missing."
    if not location:
        return "The body is not a JSON object; send it with Content-Type: application/json."
    return f"{_place(location)}: {problem['msg'][0].lower()}{problem['msg'][1:]}."


def _place(location: Sequence[str | int]) -> str:
    steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in location)
    return "".join(steps).lstrip(".") or "the body"
