"""The one context hook: what templates and questions know beyond the answers.

Variables
    <question>_<value>    `.` when chosen, else empty: the overlay folders, and `{% if %}`
    advice                gpu, base_model, strategy and so on, each with `.value`, `.reason` and
                          `.rejected`; see advice.Advice
    label                 the short text of each chosen choice: `label.task`
    gpu_choices           [[label, name], …] of the GPU table
    license_choices       the same of the licences
    git_author            name and email of git's configuration
    updates_a_copy        whether `make update` runs this, which works on a copy of the project
    words                 words about the task, see tasks.py
    found                 what the destination holds, see findings.Found (empty but in questions)
    python_versions       the Pythons a generated project supports, oldest first
    requirements          ranges and exact lines, see pins.Requirements (while files are rendered)
    house                 what an organisation decided, see organisation.Organisation
    organisation          `.`: the folder of an organisation's files
    organisation_indexes  `.` where it has package indexes
Functions and filters
    asks(question, detail)  whether a question is put; refuses a wrong answer from the command line
    usual(question, ours)   the organisation's default, or ours
    fixed(question)         why an answer is not the one that the organisation fixed, or nothing
    table(name)             a table of the estimate, with the organisation's rows
    as_… and …_problem      names.py
    …_string, …_text        escaping.py

Copier renders a template for each question and each part of each path, and this hook runs in all
of them: it answers from memory while the answers stay the same.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import os
import sys
import uuid
from collections.abc import Callable, Mapping, MutableMapping
from functools import cache, cached_property, partial
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from copier.errors import UserMessageError
from copier_template_extensions import ContextHook
from jinja2 import Environment, UndefinedError

ROOT = Path(__file__).resolve().parents[1]
ESTIMATE = ROOT / "template" / "src" / "{{package_name}}" / "estimate" / "__init__.py"
PYTHON_VERSIONS = ("3.11", "3.12", "3.13")


def load(path: Path, package: bool = False) -> ModuleType:
    """Load a file of this clone under a name that no other clone has.

    An update renders the old and the new template in one process. Under a plain name the second
    import would be answered from `sys.modules` with the first clone's code.
    """
    name = f"ml_template_{uuid.uuid4().hex}"
    folders = [str(path.parent)] if package else None
    spec = importlib.util.spec_from_file_location(name, path, submodule_search_locations=folders)
    if spec is None or spec.loader is None:
        raise UserMessageError(f"{path} is missing from this template; get a complete copy of it")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


if TYPE_CHECKING:
    from extensions import (
        advice,
        destinations,
        escaping,
        findings,
        house,
        machine,
        names,
        organisation,
        overlays,
        pins,
        questions,
        tasks,
    )

    _PACKAGE = "extensions"
else:
    _PACKAGE = load(Path(__file__).with_name("__init__.py"), package=True).__name__
    _SIBLINGS = (
        *("advice", "destinations", "escaping", "findings", "house", "machine"),
        *("names", "organisation", "overlays", "pins", "questions", "tasks"),
    )
    _loaded = [importlib.import_module(f"{_PACKAGE}.{sibling}") for sibling in _SIBLINGS]
    advice, destinations, escaping, findings, house, machine = _loaded[:6]
    names, organisation, overlays, pins, questions, tasks = _loaded[6:]


def is_occupied(context: Mapping[str, Any]) -> bool:
    """Whether the project is made in a folder that holds something."""
    folder = context["_copier_conf"].get("dst_path")
    try:
        return folder is not None and any(Path(folder).iterdir())
    except OSError:  # not there yet, mostly
        return False


def share_compiled(environment: Environment) -> None:
    """Compile each text once in a process: an update has three environments of the new version.

    Compiling calls filters of constants, so only those share whose filters and options are the
    same: of clones with the same copier.yml, extensions and locks.
    """
    texts = sys.modules.setdefault("ml_template_compiled", ModuleType("ml_template_compiled"))
    kind = (environment.sandboxed, environment.keep_trailing_newline)
    digest = hashlib.sha256(repr(kind).encode())
    for pattern in ("copier.yml", "extensions/**/*.py", "extensions/*.txt", "locks/*.txt"):
        for path in sorted(ROOT.glob(pattern)):
            digest.update(path.read_bytes())
    compiled: dict[Any, Any] = vars(texts).setdefault(digest.hexdigest(), {})
    compile_text: Any = environment.compile

    def compile_once(source: Any, name: str | None = None, *rest: Any, **options: Any) -> Any:
        key = (source, name, rest, *options.items())
        if key not in compiled:
            compiled[key] = compile_text(source, name, *rest, **options)
        return compiled[key]

    environment.compile = compile_once  # type: ignore[method-assign]


class ProjectContext(ContextHook):
    """Adds the variables, functions and filters above to every rendering."""

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self._template = Template(environment)
        environment.filters.update(escaping.FILTERS)
        environment.filters.update(self._template.filters())
        share_compiled(environment)
        # Copier compiles every part of every path anew; most are the same few texts. This saves
        # a third of the time, and rules out Copier's `yield` tag, whose state compiling resets.
        from_string: Any = cache(environment.from_string)
        environment.from_string = from_string  # type: ignore[method-assign]

    def hook(self, context: MutableMapping[str, Any]) -> None:
        """Add to the context in place."""
        self._template.extend(context)


class Template:
    """This clone of the template: its questions, tables and locks, read once."""

    def __init__(self, environment: Environment, root: Path = ROOT) -> None:
        self._environment = environment
        self._root = root
        self._questions = questions.read(root / "copier.yml")
        self._house = house.House(root, self._questions, self._problem)
        self._questions = self._house.questions
        self._seen: list[Any] = []
        self._variables: dict[str, Any] = {}
        self._found: findings.Found | None = None
        self._may_write = False

    def extend(self, context: MutableMapping[str, Any]) -> None:
        """Add all variables for the context's answers."""
        # Compared in each of some two thousand calls, so as short as can be.
        phase = context.get("_copier_phase")
        seen = [phase == "prompt", *map(context.get, self._questions)]
        if seen != self._seen:
            self._variables = self._compute(context)
            self._seen = seen
        context.update(self._variables)
        if phase == "render" and not self._may_write:
            self._refuse_conflicts(context)
            self._may_write = True
        context["asks"] = partial(self.asks, context)
        context["usual"] = partial(self._house.usual, context)
        context["fixed"] = partial(self._house.fixed, context)

    def _compute(self, context: Mapping[str, Any]) -> dict[str, Any]:
        # As they were typed, or edited into the answers file: "2" for 2. What has no such type is
        # left as it is, and refused at its question.
        answers = {}
        for key, question in self._questions.items():
            if key in context:
                value, wrong_type = questions.answer(question, context[key])
                answers[key] = None if wrong_type else value
        variables: dict[str, Any] = {
            key: value for key, value in answers.items() if value is not None
        }
        variables.update(overlays.variables(self._questions, answers))
        # An update renders files in empty folders, perhaps on another machine: what is found at
        # the questions must have become an answer.
        asking = context.get("_copier_phase") == "prompt"
        found = self._discover(context) if asking else findings.Found()
        indexes = self._house.settings.indexes
        variables.update(
            advice=advice.Advice(
                answers,
                self.estimate,
                self.recommended,
                self._offered,
                found,
                machine.nvidia_gpus if asking else tuple,
            ),
            label={
                key: questions.label(question, answers.get(key))
                for key, question in self._questions.items()
            },
            found=found,
            gpu_choices=self._gpu_choices,
            license_choices=list((self._questions["license"].choices or {}).items()),
            house=self._house.settings,
            organisation=overlays.CHOSEN,
            organisation_indexes=overlays.CHOSEN if indexes else overlays.NOT_CHOSEN,
            table=lambda name: self._house.table(ESTIMATE.with_name("tables") / f"{name}.csv"),
            git_author=machine.GitAuthor(),
            updates_a_copy=bool(os.environ.get("ML_TEMPLATE_COPY")),
            words=tasks.TASKS.get(str(answers.get("task"))),
            python_versions=PYTHON_VERSIONS,
        )
        if not asking and answers.get("framework"):
            chosen = [name for name, value in variables.items() if value == overlays.CHOSEN]
            variables["requirements"] = pins.requirements(
                pins.read_lock(self._root / "locks" / f"{answers['framework']}.txt"),
                pins.read_groups(self._root / "locks"),
                chosen,
            )
        return variables

    def _discover(self, context: Mapping[str, Any]) -> findings.Found:
        if self._found is None:
            self._found = findings.Found()
            if is_occupied(context):
                discovery: Any = importlib.import_module(f"{_PACKAGE}.discovery")
                self._found = discovery.discover(Path(context["_copier_conf"]["dst_path"]))
        return self._found

    def _refuse_conflicts(self, context: Mapping[str, Any]) -> None:
        folder = context["_copier_conf"].get("dst_path")
        if folder is not None and (problem := destinations.problem(Path(folder))):
            raise UserMessageError(problem)
        if is_occupied(context):
            conflicts: Any = importlib.import_module(f"{_PACKAGE}.conflicts")
            files = self._root / "template"
            checks = (conflicts.blocked, conflicts.refusal, conflicts.ignored)
            refusal = next(filter(None, (check(files, context) for check in checks)), "")
            if refusal:
                raise UserMessageError(refusal)
        if (self._root / "template" / organisation.FOLDER).is_dir():
            conflicts = importlib.import_module(f"{_PACKAGE}.conflicts")
            refusal = conflicts.doubled(self._root / "template", organisation.FOLDER, context)
            if refusal:
                raise UserMessageError(refusal)

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters which check and derive names."""
        return {
            "as_title": names.as_title,
            "title_problem": names.title_problem,
            "line_problem": names.line_problem,
            "as_line": names.as_line,
            "email_problem": names.email_problem,
            "as_email": names.as_email,
            "model_problem": names.model_problem,
            "budget_problem": names.budget_problem,
            "year_problem": names.year_problem,
            "facts_problem": names.facts_problem,
            "as_slug": lambda title: names.as_slug(title, self.taken_names),
            "slug_problem": lambda slug: names.slug_problem(slug, self.taken_names),
            "as_package": names.as_package,
            "as_source": names.as_source,
            "package_problem": lambda name: names.package_problem(name, self.taken_names),
        }

    def asks(self, context: Mapping[str, Any], key: str, detail: str) -> bool:
        """Whether a question is put: always those of `quick`, the others in `full` or `never`.

        Raises `UserMessageError` for a wrong answer given with `--data`: Copier itself would show
        a traceback, and would drop an unknown value of a list without a word.
        """
        question = self._questions[key]
        given = context["_copier_conf"]["data"]
        if key == next(iter(self._questions)):
            self._refuse_unknown(given)
        if key in given:
            self._refuse_wrong(question, given[key], context)
        if key in context and key not in given:
            self._refuse_wrong_type(question, context)
        if self._house.answers(context, key):
            return False
        return questions.worth_asking(question) and detail in ("quick", context.get("detail"))

    def _refuse_wrong(self, question: Any, given: Any, context: Mapping[str, Any]) -> None:
        problem = self._problem(question, given, context)
        if problem:
            raise UserMessageError(
                f"{question.key}={questions.shown(given)}: {questions.sentence(problem)}"
            )

    def _problem(self, question: Any, given: Any, context: Mapping[str, Any] | None) -> str:
        """Return what is wrong with an answer, or nothing; without a context: by itself."""
        # Without `_copier_conf` the hook adds nothing, so that a look at other answers fails.
        variables = {"fixed": lambda _: ""} if context is None else context

        def validate(value: Any) -> str:
            # What is chosen is text; anything else may have no hash.
            chosen = value if isinstance(value, list) else [value]
            texts = [choice for choice in chosen if isinstance(choice, str)]
            choices = [question.choice_validators.get(choice, "") for choice in texts]
            for text in (*choices, question.validator):
                validator = self._environment.from_string(text)
                try:
                    found = validator.render({**variables, question.key: value}).strip()
                except UndefinedError:
                    if context is not None:
                        raise
                    continue
                if found:
                    return found
            return ""

        offered = self._offered.get(question.key, ())
        problem = questions.problem(question, given, offered, validate)
        return problem or self._house.problem(question.key, given)

    def _refuse_wrong_type(self, question: Any, context: Mapping[str, Any]) -> None:
        """Refuse what was edited into the answers file; Copier would keep or drop it silently."""
        value = context[question.key]
        _, problem = questions.answer(question, value, self._offered.get(question.key, ()))
        if problem:
            file = context["_copier_conf"]["answers_file"]
            said = (
                f"{question.key}={questions.shown(value)} in {file}: {questions.sentence(problem)}"
            )
            raise UserMessageError(said)

    def _refuse_unknown(self, given: Mapping[str, Any]) -> None:
        """Refuse a misspelt question, but not where an update renders beside the project.

        To them are given the stored answers, all of them, perhaps to a question that is no more.
        """
        import difflib  # here, because without --data nothing is given

        if "_commit" in given or self._questions.keys() <= given.keys():
            return
        for key in given:
            close = difflib.get_close_matches(key, self._questions, n=1)
            if key not in self._questions and close:
                raise UserMessageError(f"{key} is no question; did you mean {close[0]}?")

    @cached_property
    def estimate(self) -> ModuleType:
        """The generated package's estimate of this clone."""
        estimate = load(ESTIMATE, package=True)
        self._house.extend(estimate)
        return estimate

    @cached_property
    def recommended(self) -> dict[str, list[str]]:
        """Models to start from, for each task."""
        ours = advice.read_recommended(self._root / "extensions" / "recommended_models.csv")
        return self._house.recommended(ours, self.estimate)

    @cached_property
    def taken_names(self) -> frozenset[str]:
        """Names that a project may not have."""
        locks = sorted((self._root / "locks").glob("*.txt"))
        return names.taken({pin.name for lock in locks for pin in pins.read_lock(lock)})

    @cached_property
    def _gpu_choices(self) -> list[tuple[str, str]]:
        gpus = self.estimate.gpus().values()
        return [
            ("none: train on the CPU", "none"),
            *((f"{gpu.name}: {gpu.memory_gib:.0f} GiB", gpu.name) for gpu in gpus),
        ]

    @cached_property
    def _offered(self) -> dict[str, list[Any]]:
        offered = {
            key: list(question.choices.values())
            for key, question in self._questions.items()
            if question.choices is not None
        }
        return {**offered, "gpu": [name for _, name in self._gpu_choices]}
