"""Generate a project; print the processor seconds of the generation and of its context hook.

python benchmarks/hook_time.py TEMPLATE PROJECT [QUESTION=ANSWER ...]

Counted are loading the hook and all its calls, and whatever the questions and files ask of its
advice, by which more modules may be loaded. As in a fresh clone, no bytecode is there: give a
template folder without any. Processor time, because a busy machine makes all else longer.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from time import process_time
from types import ModuleType
from typing import Any

import copier
from copier_template_extensions import TemplateExtensionLoader

sys.dont_write_bytecode = True


class Stopwatch:
    """Adds up the time in the outermost of the watched calls."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.calls = 0
        self._inside = False

    def watched(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function, watched."""

        def call(*arguments: Any, **options: Any) -> Any:
            if self._inside:
                return function(*arguments, **options)
            self._inside = True
            started = process_time()
            try:
                return function(*arguments, **options)
            finally:
                self.seconds += process_time() - started
                self.calls += 1
                self._inside = False

        return call

    def without_its_own(self) -> float:
        """Return the seconds less those of asking for the time, which is slow on some systems."""
        return self.seconds - self.calls * min(_pause() for _ in range(1_000))


def _pause() -> float:
    started = process_time()
    return process_time() - started


def generate(template: str, project: str, answers: dict[str, str]) -> Stopwatch:
    """Generate a project with default answers and these, and return the watch."""
    watch = Stopwatch()
    loader: Any = TemplateExtensionLoader
    load = loader._import_template_module

    def load_watched(self: TemplateExtensionLoader, path: Any) -> ModuleType:
        module: Any = watch.watched(load)(self, path)
        hook, advice = module.ProjectContext, module.advice.Advice
        hook.__init__, hook.hook = watch.watched(hook.__init__), watch.watched(hook.hook)
        advice.__getattribute__ = watch.watched(object.__getattribute__)
        for name in ("strategy_problem", "parallelism_problem"):
            setattr(advice, name, watch.watched(getattr(advice, name)))
        return module  # type: ignore[no-any-return]

    loader._import_template_module = load_watched
    copier.run_copy(
        template, project, data=answers, defaults=True, unsafe=True, quiet=True, overwrite=True
    )
    return watch


if __name__ == "__main__":
    began = process_time()
    template, project, *given = sys.argv[1:]
    watch = generate(template, project, dict(answer.split("=", 1) for answer in given))
    own = watch.seconds - watch.without_its_own()
    print(process_time() - began - own, watch.seconds - own)
