"""What must hold for any set of answers, however hostile; for the tests and the benchmark."""

from __future__ import annotations

import ast
import collections
import re
from collections.abc import Mapping
from functools import cache, lru_cache
from typing import Any

import yaml
from copier._main import Worker
from copier.errors import UserMessageError
from hypothesis import HealthCheck, Phase, settings

import helpers
from answers_in_process import Questionnaire
from file_structure import difference, parsed
from hostile_answers import PLAIN_FOLDER, PLAIN_TEXTS, plain_texts

LONGEST_MESSAGE = 400
NAMES = ("project_slug", "package_name")
NAME = re.compile(r"[a-z][a-z0-9]*([-_][a-z0-9]+)*")
# Files that no program runs: what is read as data, and what people read.
NOT_RUN = (".py", ".md", ".toml", ".yaml", ".yml", ".json", ".ipynb", "LICENSE", "NOTICE")
ANSWERS_FILE = ".copier-answers.yml"


def hostile(sets: int) -> Any:
    """Settings of Hypothesis: so many sets, the same each time, however busy the machine is."""
    return settings(
        max_examples=sets,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )


class Examination:
    """Examines sets of answers, and counts."""

    def __init__(self, questionnaire: Questionnaire) -> None:
        self._questionnaire = questionnaire
        self._known_files: dict[str, dict[str, str]] = {}
        self.counts: collections.Counter[str] = collections.Counter()
        self.refused: collections.Counter[str] = collections.Counter()
        """How often each question refused."""

    def of(self, answers: Mapping[str, Any]) -> None:
        """Ask until nothing is refused, and look at what is made of the answers that are left.

        Fails where anything but a sentence comes back, or a file says something else than it would
        with a harmless person's answers.
        """
        kept, worker = self._accepted(answers)
        self.counts["sets"] += 1
        self.counts["values accepted"] += len(kept)
        files = self._questionnaire.files(worker)
        stored = yaml.safe_load(files[ANSWERS_FILE])
        assert_stored(kept, stored)
        for again in (
            self._questionnaire.ask({}, last=stored),  # as recopy takes them, and the new version
            self._questionnaire.ask(answers_of(stored)),  # as an update takes them for the old one
        ):
            assert answers_of(stored) == answers_of(again.answers.combined)
        self._assert_same_structure(files, stored)

    def _accepted(self, answers: Mapping[str, Any]) -> tuple[dict[str, Any], Worker]:
        kept = dict(answers)
        while True:
            try:
                return kept, self._questionnaire.ask(kept)
            except UserMessageError as error:
                key = assert_sentence(error.message, kept)
                self.counts["values refused"] += 1
                self.refused[key] += 1
                del kept[key]

    def _assert_same_structure(self, files: dict[str, str], stored: dict[str, Any]) -> None:
        plain = plain_texts(stored)
        typed = {text: str(stored[key]) for key, text in plain.items()}
        package = PLAIN_TEXTS["package_name"]
        typed[package.upper()] = stored["package_name"].upper()  # in environment variables
        for key in NAMES:
            assert_name(stored[key])
        plain_files = self._plain_files({**answers_of(stored), **plain})
        assert list(plain_files) == list(files)
        for path, text in files.items():
            found = differs(path, plain_files[path], text, typed)
            assert not found, f"{path}: {found}"
            self.counts["files examined"] += 1

    def _plain_files(self, answers: dict[str, Any]) -> dict[str, str]:
        known = repr(answers)
        if known not in self._known_files:
            worker = self._questionnaire.ask(answers)
            files = self._questionnaire.files(worker)
            assert_programs_read_names_only(files)
            self._known_files[known] = files
        return self._known_files[known]


def answers_of(stored: Mapping[str, Any]) -> dict[str, Any]:
    """Return the answers to questions alone."""
    return {key: stored[key] for key in helpers.questions() if key in stored}


def assert_sentence(message: str, given: Mapping[str, Any]) -> str:
    """Return the question that a refusal names; fail if it is no short sentence about it."""
    key, named, rest = message.partition("=")
    assert named and key in given, f"it names no answer that was given: {message[:300]!r}"
    assert message.isprintable() and len(message) <= LONGEST_MESSAGE, repr(message[:600])
    assert message.endswith(".") and ": " in rest, f"no sentence: {message!r}"
    return key


def assert_stored(typed: Mapping[str, Any], stored: Mapping[str, Any]) -> None:
    """Fail where a text is not stored as it was typed, or an answer not at all."""
    for key, question in helpers.questions().items():
        assert key in stored, f"{key} is not stored"
        if key in typed and question["type"] == "str" and not question.get("multiselect"):
            assert stored[key] == str(typed[key]), f"{key}: {typed[key]!r} became {stored[key]!r}"


@cache
def assert_name(name: str) -> None:
    """Fail for a name that would be more than a word somewhere."""
    assert NAME.fullmatch(name) and yaml.safe_load(name) == name, name
    ast.parse(f"import {name.replace('-', '_')}\n")


def assert_programs_read_names_only(files: Mapping[str, str]) -> None:
    """Fail where a text, other than a name, stands in what make, a shell, Docker or a CI runs.

    So whatever was typed, there is nothing of it that a command could run.
    """
    texts = {text for key, text in PLAIN_TEXTS.items() if key not in NAMES} | {PLAIN_FOLDER}
    for path, content in files.items():
        of_ci = path.startswith((".github/", ".gitlab-ci"))
        if of_ci or not path.endswith(NOT_RUN):
            found = [text for text in texts if text in content]
            assert not found, f"{path}: holds {found}"


def differs(path: str, plain: str, odd: str, typed: Mapping[str, str]) -> str:
    """Return where a file says something else with odd answers than with plain ones; or nothing."""
    if odd == plain:
        parsed_once(path, plain)
        return ""
    renamed = plain
    for name in (*(PLAIN_TEXTS[key] for key in NAMES), PLAIN_TEXTS["package_name"].upper()):
        renamed = renamed.replace(name, typed[name])
    if odd == renamed:  # most hold no text but names, which assert_name() has looked at
        parsed_once(path, plain)
        return ""
    try:
        return difference(parsed_once(path, plain), parsed(path, odd), typed)
    except (ValueError, SyntaxError, yaml.YAMLError, AssertionError) as error:
        return f"it does not parse ({error})"


@lru_cache(4_000)
def parsed_once(path: str, text: str) -> Any:
    """Return what a file says; most are the same for many sets of answers."""
    return parsed(path, text)
