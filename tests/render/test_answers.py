"""The same answers make the same bytes; defaults are valid; odd texts come out as they went in."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

import combinations
import helpers

pytestmark = pytest.mark.render

ODD_TEXTS: dict[str, Any] = {
    "description": """"Quoted" and 'quoted': {{ a }} {% x %} {# y #} \\n $(id) `ls` #1 <b>&amp;€""",
    "author_name": 'Zoë O\'Brien "Zed" {{ 7 * 7 }} \\',
}


@pytest.mark.parametrize("task", ["llm", "text_classification"])
def test_the_same_answers_make_the_same_bytes(tmp_path: Path, task: str) -> None:
    """Also in another folder, with another hash seed, home, time zone and language."""
    made = []
    for number, (zone, language) in enumerate([("UTC", "C.UTF-8"), ("Asia/Tokyo", "de_DE.UTF-8")]):
        home = tmp_path / f"home-{number}"
        home.mkdir()
        folder = tmp_path / f"run-{number}" / "ticket-router"
        answers = {**helpers.ANSWERS, "task": task, "copyright_year": 2024}
        data = [f"--data={key}={value}" for key, value in answers.items()]
        environment = {
            **os.environ,
            "ML_TEMPLATE_HOOKS": "off",
            "PYTHONHASHSEED": str(number + 1),
            "HOME": str(home),
            "TZ": zone,
            "LC_ALL": language,
        }
        command = [sys.executable, "-m", "copier", "copy", "--trust", "--defaults", "--quiet"]
        subprocess.run(
            [*command, *data, str(helpers.snapshot()), str(folder)], env=environment, check=True
        )
        made.append(bytes_of(folder))
    assert made[0].keys() == made[1].keys()
    assert [name for name in made[0] if made[0][name] != made[1][name]] == []


def bytes_of(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_every_default_is_an_answer_that_is_offered(tmp_path: Path, no_gpu: None) -> None:
    """Nothing is given, not even a name: the folder's is taken."""
    nothing: dict[str, Any] = dict.fromkeys(helpers.ANSWERS)
    project = helpers.copy_project(tmp_path / "demo", **nothing)
    answers = yaml.safe_load((project / ".copier-answers.yml").read_text("utf-8"))
    for key, question in helpers.questions().items():
        assert key in answers, f"{key} is not stored, so an update could not keep it"
        if "choices" in question and key not in combinations.COMPUTED:
            values = answers[key] if isinstance(answers[key], list) else [answers[key]]
            assert set(values) <= set(helpers.offered(key)), f"{key}: {values}"
    assert answers["package_name"] == "demo" and (project / "src/demo/__init__.py").is_file()


def test_odd_texts_come_out_as_they_went_in(tmp_path: Path) -> None:
    project = helpers.copy_project(tmp_path / "project", **ODD_TEXTS)
    metadata = tomllib.loads((project / "pyproject.toml").read_text("utf-8"))["project"]
    assert metadata["description"] == ODD_TEXTS["description"]
    assert metadata["authors"][0]["name"] == ODD_TEXTS["author_name"]
    answers = yaml.safe_load((project / ".copier-answers.yml").read_text("utf-8"))
    assert {key: answers[key] for key in ODD_TEXTS} == ODD_TEXTS
    for path in project.rglob("*"):
        if path.suffix in {".yaml", ".yml"}:
            list(yaml.safe_load_all(re.sub(r"!reference", "", path.read_text("utf-8"))))
        elif path.suffix == ".py":
            compile(path.read_text("utf-8"), str(path), "exec")
        elif path.suffix == ".ipynb":
            json.loads(path.read_text("utf-8"))
