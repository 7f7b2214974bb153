"""Read and check `organisation.yml`, the one file of settings of a fork.

Every mistake is one sentence: the file, the key, what is wrong and what to write. What needs the
other answers or the estimate is checked where it is used, in context.py and tables.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import yaml

from . import overlays
from . import questions as questions_module
from .organisation import FILE, FOLDER, Fixed, Index, Licence, Organisation
from .questions import Question

TABLES = ("models", "gpus", "prices")
COUNTED = ("data_facts",)  # not chosen by anybody
OURS = "ours"

_URL = re.compile(r"https?://[A-Za-z0-9.-]+(:\d+)?(/[A-Za-z0-9._~+/-]*)?")


class SettingsError(ValueError):
    """A mistake in the settings, in one sentence."""


class _Loader(yaml.SafeLoader):
    """Refuses a key that is given twice, of which YAML would take the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                text = f"{str(key.value)[:40]} is there twice"
                raise yaml.constructor.ConstructorError(None, None, text, key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def read(path: Path, questions: Mapping[str, Question]) -> Organisation:
    """Return the settings of a file. Raises SettingsError."""
    try:
        given = yaml.load(path.read_text("utf-8"), Loader=_Loader)
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{FILE} cannot be read: {type(error).__name__}") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        what = getattr(error, "problem", None) or "a sign that YAML does not allow"
        raise SettingsError(f"{FILE}{where} is not YAML: {what}") from None
    except ValueError as error:  # a date that no calendar has
        raise SettingsError(f"{FILE} holds what YAML cannot read: {error}") from None
    if given is None:
        return Organisation()
    sections = {"name", "defaults", "fixed", "hidden", "recommended", "licences", "indexes"}
    _table(given, "the file", (*sorted(sections), *TABLES))
    name = given.get("name")
    if not isinstance(name, str) or not name.strip() or "\n" in name.strip():
        raise _wrong("name", "is missing; write the organisation's name, on one line")
    licences = _section(given, "licences", _licences, path.parent)
    for value in (questions["license"].choices or {}).values():
        if value in licences:
            raise _wrong(f"licences.{value}", "is the template's; give yours another name")
    known = with_licences(questions, licences)
    return Organisation(
        name=name.strip(),
        defaults=_section(given, "defaults", _defaults, known),
        fixed=_section(given, "fixed", _fixed, known),
        hidden=frozenset(_hidden(given.get("hidden") or [], known)),
        recommended=_section(given, "recommended", _recommended, known),
        rows={table: _rows(table, given[table]) for table in TABLES if given.get(table)},
        licences=licences,
        indexes=_indexes(given.get("indexes") or []),
    )


def with_licences(
    questions: Mapping[str, Question], licences: Mapping[str, Licence]
) -> dict[str, Question]:
    """Return the questions with the organisation's licences among the choices."""
    question = questions["license"]
    choices = {licence.label: value for value, licence in licences.items()}
    extended = question._replace(choices={**(question.choices or {}), **choices})
    return {**questions, "license": extended}


def _section(
    given: Mapping[str, Any], section: str, check: Callable[[dict[str, Any], Any], Any], more: Any
) -> dict[str, Any]:
    found = given.get(section) or {}
    _table(found, section)
    checked: dict[str, Any] = check(found, more)
    return checked


def _defaults(given: dict[str, Any], questions: Mapping[str, Question]) -> dict[str, Any]:
    return {key: _answer(f"defaults.{key}", key, given[key], questions) for key in given}


def _fixed(given: dict[str, Any], questions: Mapping[str, Question]) -> dict[str, Fixed]:
    found = {}
    for key, entry in given.items():
        where = f"fixed.{key}"
        _question(where, key, questions)
        _table(entry, where, ("reason", "value"), needed=True)
        reason = str(entry["reason"] or "").strip()
        if not reason or "\n" in reason:
            raise _wrong(f"{where}.reason", "is empty; say on one line why, people will read it")
        value = _answer(f"{where}.value", key, entry["value"], questions)
        found[key] = Fixed(value, reason.rstrip("."))
    return found


def _hidden(given: Any, questions: Mapping[str, Question]) -> list[str]:
    for key in _list(given, "hidden", "questions"):
        _question("hidden", key, questions)
    return list(given)


def _recommended(
    given: dict[str, Any], questions: Mapping[str, Question]
) -> dict[str, Sequence[str]]:
    tasks = list((questions["task"].choices or {}).values())
    for task, models in given.items():
        if task not in tasks:
            near = questions_module.nearest(task, tasks)
            raise _wrong("recommended", f"{_cut(task)} is no task; {near}")
        if not _list(models, f"recommended.{task}", f"hub ids or `{OURS}`"):
            raise _wrong(f"recommended.{task}", "is empty; name a model, or leave the task out")
        if not all(isinstance(model, str) for model in models):
            raise _wrong(f"recommended.{task}", f"write hub ids (org/name) or `{OURS}`")
    return given


def _licences(given: dict[str, Any], root: Path) -> dict[str, Licence]:
    found = {}
    for value, entry in given.items():
        where = f"licences.{value}"
        if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z][A-Za-z0-9.-]{0,60}", value):
            raise _wrong("licences", f"{_cut(value)}: write letters, digits, - and . only")
        _table(entry, where, ("label", "spdx"))
        if not isinstance(entry.get("label"), str):
            raise _wrong(f"{where}.label", "is missing; write the line of the questionnaire")
        spdx = entry.get("spdx") or f"LicenseRef-{value}"
        if not isinstance(spdx, str) or not re.fullmatch(r"[A-Za-z0-9.+-]+", spdx):
            raise _wrong(f"{where}.spdx", "is no identifier such as EUPL-1.2 or LicenseRef-Acme")
        folder = root / "template" / FOLDER / f"{{{{{overlays.name('license', value)}}}}}"
        if not any((folder / name).is_file() for name in ("LICENSE", "LICENSE.jinja")):
            text = (folder / "LICENSE").relative_to(root).as_posix()
            raise _wrong(where, f"has no text; put it into {text}")
        found[value] = Licence(entry["label"], spdx)
    return found


def _rows(table: str, given: Any) -> list[dict[str, str]]:
    found = []
    for number, row in enumerate(_list(given, table, "rows"), 1):
        where = f"{table}, row {number}"
        _table(row, where)
        for column, value in row.items():
            if isinstance(value, dict | list):
                raise _wrong(f"{where}: {column}", "write a number or a text")
        found.append({str(column): _cell(value) for column, value in row.items()})
    return found


def _cell(value: Any) -> str:
    """A value of YAML as a table holds it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, date):
        return value.isoformat()
    return "" if value is None else str(value)


def _indexes(given: Any) -> list[Index]:
    found = []
    for number, entry in enumerate(_list(given, "indexes", "entries with name and url"), 1):
        where = f"indexes, entry {number}"
        _table(entry, where, ("default", "name", "url"))
        name, url, default = entry.get("name"), entry.get("url"), entry.get("default", False)
        if not isinstance(name, str) or not re.fullmatch(r"[a-z][a-z0-9-]{0,40}", name):
            raise _wrong(f"{where}: name", "write small letters, digits and hyphens")
        if not isinstance(url, str) or not _URL.fullmatch(url):  # not shown: it may hold a password
            raise _wrong(
                f"{where}: url",
                "is no plain address: write https://host/path/simple without user, password and "
                "question mark; credentials belong into ~/.netrc or a keyring",
            )
        if not isinstance(default, bool):
            raise _wrong(f"{where}: default", "write true or false")
        found.append(Index(name, url, default))
    if sum(index.default for index in found) > 1:
        raise _wrong("indexes", "only one of them can be the default")
    if len({index.name for index in found}) < len(found):
        raise _wrong("indexes", "two of them have the same name")
    return found


def _answer(where: str, key: Any, value: Any, questions: Mapping[str, Question]) -> Any:
    """Return a value as an answer of its question; what other answers decide comes later."""
    question = _question(where.partition(".")[0], key, questions)
    offered = list((question.choices or {}).values())
    problem = questions_module.problem(question, value, offered, lambda _: "")
    if problem:
        raise _wrong(where, problem)
    return questions_module.typed(question, value)


def _question(where: str, key: Any, questions: Mapping[str, Question]) -> Question:
    if key in COUNTED:
        raise _wrong(where, f"{key} is counted, not chosen; take it out")
    if not isinstance(key, str) or key not in questions:
        near = questions_module.nearest(key, list(questions))
        raise _wrong(where, f"{_cut(key)} is no question; {near}")
    return questions[key]


def _table(given: Any, where: str, keys: Sequence[str] = (), needed: bool = False) -> None:
    if not isinstance(given, dict):
        raise _wrong(where, "is no table; write `key: value` lines")
    for key in given:
        if keys and key not in keys:
            near = questions_module.nearest(key, keys)
            raise _wrong(where, f"{_cut(key)} is no setting; {near}")
    missing = [key for key in keys if needed and key not in given]
    if missing:
        raise _wrong(where, f"{missing[0]} is missing")


def _list(given: Any, where: str, what: str) -> list[Any]:
    if not isinstance(given, list):
        raise _wrong(where, f"is no list; write {what} behind hyphens")
    return given


def _cut(value: Any) -> str:
    return repr(value)[:60]


def _wrong(where: str, what: str) -> SettingsError:
    return SettingsError(f"{FILE}: {where}: {what}")
