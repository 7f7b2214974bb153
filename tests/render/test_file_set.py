"""Each choice adds exactly the files of its overlays."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

import helpers
import ownership
from projects import Rendered

pytestmark = pytest.mark.render

NOT_OVERLAYS = {"package_name", "_copier_conf.answers_file"}


def test_a_project_holds_the_files_of_its_choices_and_no_other(
    project: Rendered, template: Path
) -> None:
    expected = expected_files(template, project.answers)
    assert sorted(expected) == sorted(project.names())


def test_no_two_overlays_write_the_same_file(project: Rendered, template: Path) -> None:
    counts = Counter(expected_files(template, project.answers))
    assert [path for path, count in counts.items() if count > 1] == []


def test_paths_have_no_logic(template: Path) -> None:
    names = [path.name for path in template.rglob("*")]
    assert [name for name in names if "{%" in name or "{#" in name or "|" in name] == []


def test_python_files_have_no_package_name_inside_the_package(template: Path) -> None:
    """Relative imports: a file of the package is plain Python, read in place."""
    inside = [path for path in template.rglob("*.jinja") if "{{package_name}}" in path.parts]
    assert [path for path in inside if path.name.endswith(".py.jinja")] == []


def test_each_file_is_the_users_or_the_templates_and_says_so(project: Rendered) -> None:
    said = ownership.table((project.root / "README.md").read_text("utf-8"))
    names = project.names()
    assert [name for name in sorted(names) if not ownership.owner(said, name)] == []
    unused = [each for each in said if not any(ownership.covers(each, name) for name in names)]
    assert unused == [], "the README speaks of files that are not there"
    assert list(ownership.unmarked(project.root, said, names)) == []


def test_the_users_modules_are_the_same_everywhere(project: Rendered) -> None:
    package = f"src/{project.answers['package_name']}"
    said = ownership.table((project.root / "README.md").read_text("utf-8"))
    modules = sorted(each[len(package) + 1 :] for each in said if each.startswith(f"{package}/"))
    docstring = (project.root / package / "__init__.py").read_text("utf-8")
    agents = (project.root / "AGENTS.md").read_text("utf-8")
    guide = (helpers.ROOT / "docs/updating.md").read_text("utf-8")
    for text in (
        re.findall(r"Yours: (.*?)\. ", docstring)[0],
        re.findall(r"own files are (.*?) in `src", agents)[0],
        re.findall(r"(?m)^\| (.*) of the package \| you; ", guide)[0],
    ):
        assert sorted(re.findall(r"\w+\.py", text)) == modules


def expected_files(template: Path, answers: dict[str, Any]) -> list[str]:
    """Return the paths a project has, worked out without Copier or the extension."""
    active = chosen(answers)
    found = []
    for path in template.rglob("*"):
        if not path.is_file() or path.with_name(f"{path.name}.jinja").is_file():
            continue  # of two that make the same file Copier takes the one that it renders
        parts = []
        for part in path.relative_to(template).parts:
            variable = re.fullmatch(r"{{(\w+)}}", part)
            if variable and variable[1] not in NOT_OVERLAYS:
                if variable[1] not in active:
                    break
            else:
                parts.append(part)
        else:
            found.append(plain_name(PurePosixPath(*parts), answers["package_name"]))
    return found


def plain_name(path: PurePosixPath, package: str) -> str:
    name = str(path).replace("{{package_name}}", package)
    name = name.replace("{{_copier_conf.answers_file}}", ".copier-answers.yml")
    return name.removesuffix(".jinja")


# Folders of files that several choices share, written down once more than in overlays.py.
SHARED = {
    "llm": {"text_tasks", "language_tasks", "generation_tasks"},
    "text_classification": {"text_tasks", "language_tasks", "classification_tasks"},
    "image_classification": {
        *("classification_tasks", "media_tasks", "image_tasks", "labelled_media_tasks"),
    },
    "audio_classification": {"classification_tasks", "media_tasks", "labelled_media_tasks"},
    "multimodal": {"language_tasks", "generation_tasks", "media_tasks", "image_tasks"},
    "lora": {"adapter_strategies"},
    "qlora": {"adapter_strategies"},
    "ddp": {"several_gpus"},
    "fsdp": {"several_gpus"},
    "fastapi": {"any_serving"},
    "hf_endpoints": {"any_serving"},
    "wandb": {"any_tracker"},
    "mlflow": {"any_tracker"},
}


def chosen(answers: dict[str, Any]) -> set[str]:
    """Return the overlay variables which are on, as the design words them."""
    variables = set()
    for key in ("task", "strategy", "parallelism", "serving", "tracking"):
        value = answers[key]
        for each in value if isinstance(value, list) else [value]:
            variables |= SHARED.get(each, set())
    for key, question in helpers.questions().items():
        if key not in answers or not ("choices" in question or question["type"] == "bool"):
            continue
        value = answers[key]
        values = value if isinstance(value, list) else [value]
        for each in values or ["none"]:
            text = str(each).lower() if isinstance(each, bool) else str(each)
            variables.add(re.sub(r"[^0-9A-Za-z_]", "_", f"{key}_{text}"))
    return variables
