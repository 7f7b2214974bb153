"""The questions of copier.yml: what is offered, what is put, and what a given answer breaks."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

# The C parser where PyYAML has it: the whole hook has 50 ms.
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
SHOWN_CHARACTERS = 60


class Question(NamedTuple):
    """One question of copier.yml."""

    key: str
    type: str
    multiselect: bool
    choices: Mapping[str, Any] | None
    """Values by their text; None for free text and for choices that a template computes."""
    validator: str
    choice_validators: Mapping[Any, str]


def read(copier_yml: Path) -> dict[str, Question]:
    """Return the questions by key, in the order of the file."""
    config = yaml.load(copier_yml.read_bytes(), Loader=_Loader)
    return {
        key: _question(key, spec, config.get(f"_{key}_choices", spec.get("choices")))
        for key, spec in config.items()
        if not key.startswith("_") and isinstance(spec, dict)
    }


def _question(key: str, spec: Mapping[str, Any], choices: Any) -> Question:
    if isinstance(choices, list):
        choices = {str(value): value for value in choices}
    values: dict[str, Any] | None = None
    validators: dict[Any, str] = {}
    if isinstance(choices, dict):
        values = {}
        for text, choice in choices.items():
            values[text] = choice["value"] if isinstance(choice, dict) else choice
            if isinstance(choice, dict):
                validators[choice["value"]] = choice.get("validator", "")
    return Question(
        key=key,
        type=spec.get("type", "str"),
        multiselect=bool(spec.get("multiselect")),
        choices=values,
        validator=spec.get("validator", ""),
        choice_validators=validators,
    )


def label(question: Question, value: Any) -> str:
    """Return the short label of a choice: its text up to the dash."""
    for text, offered in (question.choices or {}).items():
        if offered == value:
            return text.split(" — ")[0]
    return "" if value is None else str(value)


def worth_asking(question: Question) -> bool:
    """Whether there is something to decide: a single choice, or none at all, is no question."""
    if question.choices is None:
        return True
    return len(question.choices) > (0 if question.multiselect else 1)


def problem(
    question: Question, given: Any, offered: Sequence[Any], validate: Callable[[Any], str]
) -> str:
    """Return what is wrong with an answer given on the command line, or an empty text.

    `offered` are the values to choose from (empty: free text); `validate` runs the validators of a
    value, for a list those of each choice too.
    """
    value, wrong_type = answer(question, given, offered)
    if wrong_type:
        return wrong_type
    for each in value if question.multiselect else [value]:
        if (offered or question.multiselect) and each not in offered:
            advice = nearest(each, offered) if offered else "choose []"
            return f"{shown(each)} is not offered; {advice}"
    return validate(typed(question, value) if question.multiselect else value)


def answer(question: Question, given: Any, offered: Sequence[Any] = ()) -> tuple[Any, str]:
    """Return the value in the question's type, and what is wrong if it has none."""
    if not question.multiselect:
        return _cast(question.type, given)
    value = _read(given) if isinstance(given, str) else given
    if isinstance(value, list):
        return value, ""
    return None, f"write a list, such as [{', '.join(map(str, offered))}] or []"


def shown(given: Any) -> str:
    """Return an answer as a message may show it: short, on one line, nothing invisible."""
    text = _text(given)
    if not text or not text.isprintable():
        text = repr(text)
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}…"


def _text(given: Any) -> str:
    try:
        return str(given)
    except ValueError:  # Python writes no number of more than 4,300 digits
        return "a number of thousands of digits"


def _read(text: str) -> Any:
    """Return what a text says in YAML; None where it is none."""
    try:
        return yaml.load(text, Loader=_Loader)
    except (yaml.YAMLError, ValueError, RecursionError):  # also an impossible date, or brackets
        return None


def _cast(type_name: str, given: Any) -> tuple[Any, str]:
    """Return the value in the question's type, and what is wrong if it has none."""
    if type_name in ("int", "float"):
        try:
            if type_name == "int" and isinstance(given, float) and not given.is_integer():
                raise ValueError
            return (int if type_name == "int" else float)(given), ""
        except (TypeError, ValueError, OverflowError):
            kind = "a whole number such as 1" if type_name == "int" else "a number such as 100"
            return given, f"{shown(given)} is not a number; write {kind}"
    if type_name == "bool":
        known = re.fullmatch(r"(?i)y|yes|t|true|on|1|n|no|f|false|off|0", _text(given).strip())
        return given, "" if known else f"{shown(given)} is neither yes nor no; write true or false"
    if type_name == "json":
        try:
            return json.loads(given) if isinstance(given, str) else given, ""
        except (ValueError, RecursionError):
            return given, "that is no JSON; write an object such as {}"
    if not isinstance(given, str | int | float):  # null, a list or a date in an answers file
        return given, f"{shown(given)} is no text; put it in quotes"
    return _text(given), ""


def typed(question: Question, given: Any) -> Any:
    """Return an answer without a problem in the question's own type, as Copier will store it."""
    if question.multiselect:
        chosen, _ = answer(question, given)
        return [value for value in (question.choices or {}).values() if value in chosen]
    if question.type == "bool":
        return bool(re.fullmatch(r"(?i)y|yes|t|true|on|1", _text(given).strip()))
    return _cast(question.type, given)[0]


def sentence(problem: str) -> str:
    """Return a problem, which may end in a question, as a sentence that says what to do."""
    return f"{problem} Then write that." if problem.endswith("?") else f"{problem}."


def nearest(value: Any, offered: Sequence[Any]) -> str:
    """Return the end of a sentence about a wrong value: the one that was meant, or all."""
    names = [str(name) for name in offered]
    by_folded = {name.casefold(): name for name in names}
    close = difflib.get_close_matches(str(value).casefold(), by_folded, n=1, cutoff=0.5)
    if close:
        return f"did you mean {by_folded[close[0]]}?"
    return f"choose {' or '.join(names)}"
