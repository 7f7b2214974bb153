"""The context hook: fresh in each clone, fast, and harmless before the first answer."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from jinja2 import Environment

import helpers
from extensions import context as context_module

pytestmark = pytest.mark.unit

HOOK_TIME = helpers.ROOT / "benchmarks" / "hook_time.py"
# Of the processor time of a generation, Copier's own included. Seconds are for the benchmarks, on
# an idle machine: here other tests run beside, which makes both longer.
MAX_HOOK_SHARE = 0.16


def test_the_hook_works_without_any_answer() -> None:
    context: dict[str, Any] = {"_copier_conf": {"data": {}}, "_copier_phase": "prompt"}
    context_module.Template(Environment()).extend(context)
    assert context["task_llm"] == ""
    assert context["advice"].gpu_count.value == 1
    assert "requirements" not in context


def test_variables_are_computed_once_for_the_same_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    template = context_module.Template(Environment())
    calls: list[Any] = []
    compute = template._compute

    def counted(given: Any) -> dict[str, Any]:
        calls.append(given)
        return compute(given)

    monkeypatch.setattr(template, "_compute", counted)
    answers = {"framework": "transformers", "serving": ["fastapi"], "_copier_phase": "render"}
    for _ in range(3):
        template.extend({**answers, "_copier_conf": {"data": {}}})
    assert len(calls) == 1
    changed = {**answers, "serving": [], "_copier_conf": {"data": {}}}
    template.extend(changed)
    assert len(calls) == 2
    assert changed["serving_none"] == "."


def test_the_same_text_is_compiled_once_and_no_text_is_still_refused() -> None:
    environment = Environment()
    context_module.ProjectContext(environment)
    assert environment.from_string("{{ x }}") is environment.from_string("{{ x }}")
    for value in (1, True, ["x"], {"x": 1}, None):
        with pytest.raises(TypeError):  # by which Copier knows a value that is no template
            environment.from_string(value)  # type: ignore[arg-type]


def test_environments_share_what_is_compiled_unless_they_read_it_otherwise() -> None:
    texts = []
    choices: list[dict[str, Any]] = [{}, {}, {"keep_trailing_newline": True}]
    for options in choices:
        environment = Environment(**options)
        context_module.ProjectContext(environment)
        texts.append((environment.compile("{{ x }} shared\n"), environment))
    assert texts[0][0] is texts[1][0] and texts[0][0] is not texts[2][0]
    shown = [environment.from_string("{{ x }} shared\n").render(x=1) for _, environment in texts]
    assert shown == ["1 shared", "1 shared", "1 shared\n"]


def test_a_module_is_loaded_anew_from_each_clone(tmp_path: Path) -> None:
    for clone, value in (("old", 1), ("new", 2)):
        (tmp_path / clone).mkdir()
        (tmp_path / clone / "sibling.py").write_text(f"VALUE = {value}\n", "utf-8")
    old = context_module.load(tmp_path / "old" / "sibling.py")
    new = context_module.load(tmp_path / "new" / "sibling.py")
    assert (old.VALUE, new.VALUE) == (1, 2)
    assert old.__name__ != new.__name__


def test_an_update_uses_the_new_siblings_and_the_new_estimate(tmp_path: Path) -> None:
    """One process renders both versions: a plain import would keep the old one's modules."""
    files = {"shown.txt.jinja": "{{ description | one_line }}\n{{ gpu_choices | length }}\n"}
    repository = helpers.miniature(tmp_path / "template", files)
    helpers.commit_all(repository, "first", "1.0.0")
    project = helpers.copy_project(
        tmp_path / "project", template=repository, ref="1.0.0", description="a  text"
    )
    gpus = int((project / "shown.txt").read_text("utf-8").splitlines()[1])
    helpers.commit_all(project, "generated")

    sibling = repository / "extensions" / "escaping.py"
    marker = 'return "from the new clone: " + " ".join('
    sibling.write_text(sibling.read_text("utf-8").replace('return " ".join(', marker), "utf-8")
    table = (
        repository / "template" / "src" / "{{package_name}}" / "estimate" / "tables" / "gpus.csv"
    )
    header, first, *_ = table.read_text("utf-8").splitlines()
    table.write_text(f"{header}\n{first}\n", "utf-8")
    helpers.commit_all(repository, "second", "1.1.0")
    helpers.update_project(project, ref="1.1.0")

    shown = (project / "shown.txt").read_text("utf-8").splitlines()
    assert shown == ["from the new clone: a text", "2"]
    assert gpus > 2


def test_a_new_module_name_a_load(tmp_path: Path) -> None:
    """The hook file itself is loaded by Copier: each loading has siblings of its own."""
    path = Path(context_module.__file__)
    modules = []
    for name in ("first", "second"):
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec
        assert spec.loader
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        modules.append(module)
    assert modules[0].pins is not modules[1].pins
    assert modules[0].pins.Pin.__module__ != modules[1].pins.Pin.__module__


def test_the_hook_takes_no_more_than_its_share(tmp_path: Path) -> None:
    """Loading it, without bytecode as in a clone, all its calls, and the advice that is read."""
    template = tmp_path / "template"
    helpers.copy_working_tree(template)
    shares = []
    for attempt in range(3):
        done = subprocess.run(
            [sys.executable, HOOK_TIME, template, tmp_path / str(attempt)],
            env={**os.environ, "ML_TEMPLATE_HOOKS": "off"},
            capture_output=True,
            text=True,
            check=True,
        )
        whole, hook = map(float, done.stdout.split()[-2:])
        shares.append(hook / whole)
    assert 0.01 < min(shares) <= MAX_HOOK_SHARE, shares
