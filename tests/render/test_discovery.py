"""Copying into a folder that has files: they give defaults, and none is lost without a question."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from jinja2 import Environment

import helpers
import terminals
from extensions import conflicts
from extensions import context as context_module

pytestmark = pytest.mark.render

MINE = {
    "README.md": "# Mine\n",
    "pyproject.toml": '[project]\nname = "mine"\ndependencies = ["torch"]\n',
    "data/tickets.csv": "text,label\n" + "where is it,delivery\nit is broken,quality\n" * 9,
}
SEEN = """
seen:
  type: str
  default: "{{ found.framework }} {{ found.task }} {{ found.data.path if found.data }}"
  ask: false
"""
COPY = (sys.executable, "-m", "copier", "copy", "--trust", "--defaults", "--quiet")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the files of someone who has begun."""
    return fill(tmp_path / "mine")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A template with the real questions, one more that stores what was found, and few files."""
    return miniature(tmp_path_factory.mktemp("small") / "template")


def miniature(folder: Path) -> Path:
    files = {
        "README.md": "# Made\n",
        "pyproject.toml.jinja": "[project]\nname = {{ project_slug | toml_string }}\n",
        "{{license_MIT}}/LICENSE": "MIT\n",
        "src/{{package_name}}/a.py": "A = 1\n",
    }
    template = helpers.miniature(folder, files)
    with (template / "copier.yml").open("a", encoding="utf-8") as stream:
        stream.write(SEEN)
    return template


def fill(folder: Path) -> Path:
    for name, text in MINE.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, "utf-8")
    return folder


def contents(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_text("utf-8") for path in files}


def copy(template: Path, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run Copier's command without a terminal."""
    return subprocess.run(
        [*COPY, "--data=license=Apache-2.0", *options, str(template), str(folder)],
        env={**os.environ, "ML_TEMPLATE_HOOKS": "off"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def seen(folder: Path) -> Any:
    return yaml.safe_load((folder / ".copier-answers.yml").read_text("utf-8"))["seen"]


def test_what_lies_there_reaches_the_questions(small: Path, folder: Path) -> None:
    assert copy(small, folder, "--overwrite").returncode == 0
    assert seen(folder) == "pytorch text_classification data/tickets.csv"


def test_an_update_and_a_second_copy_keep_what_was_found(tmp_path: Path) -> None:
    template = miniature(tmp_path / "template")
    helpers.commit_all(template, "first", "1.0.0")
    folder = fill(tmp_path / "mine")
    assert copy(template, folder, "--overwrite").returncode == 0
    found = seen(folder)
    (folder / "data/tickets.csv").unlink()
    (folder / "train.py").write_text("import jax\n", "utf-8")
    helpers.commit_all(folder, "made")
    (template / "template/README.md").write_text("# Made anew\n", "utf-8")
    helpers.commit_all(template, "second", "1.1.0")
    helpers.update_project(folder)
    assert (folder / "README.md").read_text("utf-8") == "# Made anew\n"
    assert seen(folder) == found
    assert copy(template, folder, "--overwrite").returncode == 0
    assert seen(folder) == found


def test_no_file_is_made_from_what_was_found(tmp_path: Path) -> None:
    """Files follow from stored answers: an update makes them again in an empty folder."""
    template = helpers.miniature(tmp_path / "template", {"a.txt.jinja": "{{ found.task }}\n"})
    project = helpers.copy_project(fill(tmp_path / "mine"), template=template)
    assert (project / "a.txt").read_text("utf-8") == "None\n"


def test_without_a_terminal_a_conflict_is_refused_before_anything_is_written(
    small: Path, folder: Path
) -> None:
    before = contents(folder)
    done = copy(small, folder)
    assert done.returncode == 1
    assert "README.md, pyproject.toml in" in done.stderr and "--skip README.md" in done.stderr
    assert "Traceback" not in done.stderr
    assert contents(folder) == before


@pytest.mark.parametrize("task", ["llm", "text_classification"])
def test_the_files_of_a_project_are_known_before_they_are_written(
    tmp_path: Path, task: str
) -> None:
    project = helpers.copy_project(tmp_path / "project", task=task)
    answers = yaml.safe_load((project / ".copier-answers.yml").read_text("utf-8"))
    context = {**answers, "_copier_conf": {"data": {}}, "_copier_phase": "render"}
    root = helpers.snapshot()
    context_module.Template(Environment(), root).extend(context)
    made = {path.relative_to(project).as_posix() for path in project.rglob("*") if path.is_file()}
    known = set(conflicts.written(root / "template", context))
    assert known == made - {".copier-answers.yml"}


def test_files_that_no_choice_brings_are_no_conflict(small: Path, tmp_path: Path) -> None:
    (tmp_path / "LICENSE").write_text("Mine alone.\n", "utf-8")
    assert copy(small, tmp_path).returncode == 0
    assert (tmp_path / "LICENSE").read_text("utf-8") == "Mine alone.\n"
    assert (tmp_path / "src").is_dir()


def test_skipped_files_stay(small: Path, folder: Path) -> None:
    done = copy(small, folder, "--skip", "README.md", "--skip", "pyproject.toml")
    assert done.returncode == 0, done.stderr
    assert contents(folder).items() >= MINE.items()
    assert (folder / ".copier-answers.yml").is_file()


def test_overwrite_replaces_only_what_the_project_brings(small: Path, folder: Path) -> None:
    assert copy(small, folder, "--overwrite").returncode == 0
    after = contents(folder)
    assert after["README.md"] == "# Made\n" and "dependencies" not in after["pyproject.toml"]
    assert after["data/tickets.csv"] == MINE["data/tickets.csv"]


def test_a_project_can_be_copied_over_itself(small: Path, tmp_path: Path) -> None:
    assert copy(small, tmp_path / "new").returncode == 0
    before = contents(tmp_path / "new")
    assert copy(small, tmp_path / "new").returncode == 0
    assert contents(tmp_path / "new") == before


def test_the_whole_template_keeps_the_files_of_a_user_who_says_so(folder: Path) -> None:
    before = contents(folder)
    done = copy(helpers.snapshot(), folder, "--skip", "README.md", "--skip", "pyproject.toml")
    assert done.returncode == 0, done.stderr
    assert contents(folder).items() >= before.items()
    refused = copy(helpers.snapshot(), fill(folder.parent / "other"))
    assert refused.returncode == 1 and contents(folder.parent / "other") == before


def test_on_a_terminal_copier_asks_for_each_file(small: Path, folder: Path) -> None:
    """Also with --defaults, which answers the questions only."""
    command = [*COPY, "--data=license=Apache-2.0", str(small), str(folder)]
    environment = {**os.environ, "ML_TEMPLATE_HOOKS": "off"}
    screen, code = terminals.run(command, folder, environment, "Overwrite", answer="n")
    assert code == 0, screen
    assert "Overwrite README.md?" in screen and "Overwrite pyproject.toml?" in screen
    assert contents(folder).items() >= MINE.items()
    assert (folder / ".copier-answers.yml").is_file()
