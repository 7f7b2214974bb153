"""The real questions and templates of a template folder, asked and rendered without writing files.

Copier's own worker does both, as in `copier copy --defaults`; what is left out is what costs two
seconds: compiling the templates anew for every project, and writing files.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from copier._main import Worker
from copier._types import Phase

import helpers

PACKAGE = "src/{{package_name}}/"


class Questionnaire:
    """One template, read and compiled once."""

    def __init__(self, template: Path, folder: Path) -> None:
        """`folder` is where projects would be made; it must not be there."""
        self._root, self._folder = template, folder
        self._shared: dict[str, Any] = {}
        self._known_paths: dict[str, dict[str, str]] = {}
        self._questions = helpers.questions(template)
        self._sources = sorted((template / "template").rglob("*.jinja"))
        first = self._worker({})
        self._shared = {"jinja_env": first.jinja_env, "template": first.template}

    def ask(self, given: Mapping[str, Any], last: Mapping[str, Any] | None = None) -> Worker:
        """Answer with `given` (as --data), else as in the answers file `last`, else by default.

        Raises what `copier copy` raises for a wrong answer.
        """
        worker = self._worker(given)
        if last is not None:
            # Copier reads it from the project's folder, once.
            worker.subproject.__dict__["last_answers"] = dict(last)
        with Phase.use(Phase.PROMPT):
            worker._ask()
        return worker

    def files(self, worker: Worker) -> dict[str, str]:
        """Return path and text of every rendered file; all others are copied as they are."""
        with Phase.use(Phase.RENDER):
            context = worker._render_context()
            paths = self._paths(worker)
            return {
                path: worker.jinja_env.get_template(name).render(**context)
                for path, name in paths.items()
            }

    def _paths(self, worker: Worker) -> dict[str, str]:
        """Return path and template; in a path only choices are rendered, not the package's name."""
        answers = worker.answers.combined
        choices = repr([answers[key] for key, each in self._questions.items() if "choices" in each])
        if choices not in self._known_paths:
            found = {}
            for source in self._sources:
                below = source.relative_to(self._root / "template")
                for path, _ in worker._render_path(below):
                    named = path.as_posix().replace(f"src/{answers['package_name']}/", PACKAGE, 1)
                    found[named] = source.relative_to(self._root).as_posix()
            self._known_paths[choices] = found
        return self._known_paths[choices]

    def _worker(self, given: Mapping[str, Any]) -> Worker:
        worker = Worker(
            src_path=str(self._root),
            dst_path=self._folder,
            data=dict(given),
            defaults=True,
            unsafe=True,
            quiet=True,
        )
        worker.__dict__.update(self._shared)
        return worker
