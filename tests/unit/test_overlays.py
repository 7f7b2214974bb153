"""Overlay variables follow from copier.yml and the answers alone."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import helpers
from extensions import overlays, questions

pytestmark = pytest.mark.unit

COPIER_YML = """
task: {type: str, choices: {"a model — words": llm, "labels": text_classification}}
license: {type: str, choices: [Apache-2.0, MIT]}
serving: {type: str, multiselect: true, choices: [fastapi, onnx]}
tracking: {type: str, multiselect: true, choices: {}}
sensitive_data: {type: bool}
gpu: {type: str, choices: "{{ computed }}"}
project_name: {type: str}
_subdirectory: template
"""


@pytest.fixture
def some_questions(tmp_path: Path) -> dict[str, questions.Question]:
    path = tmp_path / "copier.yml"
    path.write_text(COPIER_YML, "utf-8")
    return questions.read(path)


def test_each_choice_has_a_variable_and_only_the_chosen_ones_are_set(
    some_questions: dict[str, questions.Question],
) -> None:
    answers = {
        "task": "llm",
        "license": "Apache-2.0",
        "serving": ["onnx"],
        "tracking": [],
        "sensitive_data": False,
        "gpu": "none",
        "project_name": "x",
    }
    assert overlays.variables(some_questions, answers) == {
        "task_llm": ".",
        "task_text_classification": "",
        "license_Apache_2_0": ".",
        "license_MIT": "",
        "serving_none": "",
        "serving_fastapi": "",
        "serving_onnx": ".",
        "tracking_none": ".",
        "sensitive_data_true": "",
        "sensitive_data_false": ".",
        **dict.fromkeys(overlays.SHARED, ""),
        "text_tasks": ".",
        "language_tasks": ".",
        "generation_tasks": ".",
    }


def test_files_that_trackers_share_come_with_any_of_them(tmp_path: Path) -> None:
    path = tmp_path / "copier.yml"
    trackers = "tracking: {type: str, multiselect: true, choices: [wandb, mlflow]}"
    path.write_text(trackers, "utf-8")
    for answer, expected in (([], ""), (["mlflow"], "."), (["wandb", "mlflow"], ".")):
        variables = overlays.variables(questions.read(path), {"tracking": answer})
        assert variables["any_tracker"] == expected
        assert variables["tracking_none"] == ("" if expected else ".")


def test_before_the_answers_nothing_is_chosen(
    some_questions: dict[str, questions.Question],
) -> None:
    assert set(overlays.variables(some_questions, {}).values()) == {""}


def test_a_new_choice_needs_one_list(tmp_path: Path) -> None:
    path = tmp_path / "copier.yml"
    path.write_text(COPIER_YML.replace("[fastapi, onnx]", "[fastapi, onnx, hf_endpoints]"), "utf-8")
    variables = overlays.variables(questions.read(path), {"serving": ["hf_endpoints", "fastapi"]})
    assert variables["serving_hf_endpoints"] == variables["serving_fastapi"] == "."


def test_every_overlay_folder_belongs_to_an_offered_choice() -> None:
    """A folder for a choice that is not offered would stop every generation."""
    known = {"organisation", "organisation_indexes"}
    known |= set(overlays.variables(questions.read(helpers.ROOT / "copier.yml"), {}))
    folders = [path for path in (helpers.ROOT / "template").rglob("*") if path.is_dir()]
    named = {match[1] for path in folders if (match := re.fullmatch(r"\{\{(\w+)\}\}", path.name))}
    assert named - {"package_name"} <= known
