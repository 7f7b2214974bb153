"""An organisation's settings at work: defaults, fixed answers, rows of tables.

Without an `organisation.yml` each function returns what the template itself says.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from copier.errors import UserMessageError

from . import questions
from .organisation import FILE, Organisation, shown
from .questions import Question

Problem = Callable[[Question, Any, Mapping[str, Any] | None], str]


class House:
    """The settings of one clone of the template.

    `problem(question, value, context)` says what is wrong with an answer, or nothing; without a
    context it says what is wrong with it whatever the other answers are.
    """

    def __init__(self, root: Path, ours: dict[str, Question], problem: Problem) -> None:
        self.settings = Organisation()
        self.questions = ours
        self._problem = problem
        self._said: set[str] = set()
        if (root / FILE).is_file():
            self.settings = self._call("settings", "read", root / FILE, ours)
            licences = self.settings.licences
            self.questions = self._call("settings", "with_licences", ours, licences)

    def answers(self, context: Mapping[str, Any], key: str) -> bool:
        """Whether the organisation takes this question off the user; says a fixed answer once."""
        if key in self.settings.fixed:
            value, reason = self.settings.fixed[key]
            self._say(context, f"{key} is {shown(value)}: {reason}")
        return key in self.settings.fixed or key in self.settings.hidden

    def usual(self, context: Mapping[str, Any], key: str, ours: Any) -> Any:
        """The organisation's default for a question where it has one that can work, else ours.

        Raises `UserMessageError` for a default that no other answer makes possible, and for a
        fixed answer that cannot work here.
        """
        if key in self.settings.fixed:
            value, reason = self.settings.fixed[key]
            problem = self._problem(self.questions[key], value, context)
            if problem:
                raise UserMessageError(
                    f"{self.settings.name} fixes {key} to {shown(value)} ({reason}), "
                    f"which cannot work with the other answers: {problem}."
                )
            return value
        if key not in self.settings.defaults:
            return ours
        question, value = self.questions[key], self.settings.defaults[key]
        problem = self._problem(question, value, context)
        if not problem:
            return value
        where = f"{FILE}: defaults.{key}: {shown(value)}"
        if self._problem(question, value, None):
            raise UserMessageError(f"{where}: {questions.sentence(problem)}")
        self._say(context, f"{where} is not taken here: {problem}")
        return ours

    def fixed(self, context: Mapping[str, Any], key: str) -> str:
        """Why the answer to a question is not the one that is fixed, or nothing."""
        if key not in self.settings.fixed:
            return ""
        return self.problem(key, context[key])

    def problem(self, key: str, given: Any) -> str:
        """The same for one answer, also as typed on the command line."""
        if key not in self.settings.fixed:
            return ""
        return self.settings.fixed_problem(key, questions.typed(self.questions[key], given))

    def table(self, path: Path) -> str:
        """The text of a table of the estimate, as the project gets it."""
        if path.stem not in self.settings.rows:
            return path.read_bytes().decode("utf-8")
        return str(self._call("tables", "text", path, self.settings))

    def extend(self, estimate: Any) -> None:
        """Give a just loaded estimate the rows of the organisation."""
        if self.settings.rows:
            self._call("tables", "extend", estimate, self.settings)

    def recommended(self, ours: dict[str, list[str]], estimate: Any) -> dict[str, list[str]]:
        """The models to start from for each task, smallest first."""
        if not self.settings.recommended:
            return ours
        found: dict[str, list[str]] = self._call(
            "tables", "recommended", ours, self.settings, estimate
        )
        return found

    def _call(self, module: str, function: str, *arguments: Any) -> Any:
        """Call into a module that only an organisation needs."""
        loaded: Any = importlib.import_module(f"{__package__}.{module}")
        settings: Any = importlib.import_module(f"{__package__}.settings")
        try:
            return getattr(loaded, function)(*arguments)
        except settings.SettingsError as error:
            end = "" if str(error).endswith("?") else "."
            raise UserMessageError(f"{error}{end}") from None

    def _say(self, context: Mapping[str, Any], line: str) -> None:
        """Print a line once; an update renders two more versions, in silence."""
        if line not in self._said and not context["_copier_conf"].get("quiet"):
            self._said.add(line)
            print(line, file=sys.stderr)
