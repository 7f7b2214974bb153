"""Whole projects from hostile answers, in folders with hostile names, made and used as usual.

What would run what was typed makes a file named CANARY: after making, recopying and every command
of the Makefile there is none, anywhere.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import copier
import pytest
import yaml

import combinations
import helpers
from extensions import names
from file_structure import parsed
from hostile_answers import CANARY, FRAGMENTS

pytestmark = pytest.mark.render

FOLDERS = (
    *("with spaces", "Größe 日本語 🎉", "it's", 'say "yes"', "$(touch CANARY)", "`touch CANARY`"),
    *(";touch CANARY;", "&& touch CANARY", "| touch CANARY #", "{{ 7 * 7 }}", "{% raw %}", "a%sb"),
    *("two\nlines", "\ttab", "-rf", "--help", "#x", "a:b", "*", "...", "x" * 200, "\\back\\slash"),
)
LINES = [text for text in FRAGMENTS if not names.line_problem(text, 100)]
TITLES = [text for text in FRAGMENTS if not names.title_problem(text)]


def answers(number: int) -> dict[str, Any]:
    """Return hostile answers that are accepted, another combination of choices for each number."""
    choices = combinations.covering()
    return {
        **choices[number % len(choices)],
        "project_name": TITLES[number % len(TITLES)],
        "description": " ".join(LINES[number * 3 : number * 3 + 3])[:200].strip(),
        "author_name": LINES[-1 - number],
        "author_email": "o'brien+#x@example.org",
    }


@pytest.fixture(params=range(len(FOLDERS)), ids=lambda number: repr(FOLDERS[number])[:30])
def project(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    number = request.param
    folder = tmp_path / FOLDERS[number]
    yield helpers.copy_project(folder, **answers(number))
    assert [str(path) for path in tmp_path.rglob(f"*{CANARY}*") if path.name == CANARY] == []
    assert not Path(CANARY).exists()


def test_a_hostile_project_is_whole_and_runs_nothing(project: Path) -> None:
    stored = yaml.safe_load((project / ".copier-answers.yml").read_text("utf-8"))
    number = FOLDERS.index(project.name)
    typed = answers(number)
    assert {key: stored[key] for key in typed} == typed
    for path in files(project):
        if path.suffix == ".html":
            HTMLParser().feed(path.read_text("utf-8"))
        elif path.suffix in {".py", ".toml", ".yaml", ".yml", ".json", ".ipynb", ".md"}:
            parsed(path.name, path.read_text("utf-8"))
        elif path.suffix == ".sh":
            subprocess.run(["sh", "-n", path], check=True)
    assert_commands_run_nothing(project)
    dockerfile = project / "Dockerfile"
    hadolint = Path(sys.executable).parent / "hadolint"
    checked = subprocess.run([hadolint, dockerfile], capture_output=True, text=True, check=False)
    assert "unexpected" not in checked.stdout and "DL1000" not in checked.stdout, checked.stdout

    before = {path: path.read_bytes() for path in files(project)}
    with helpers.hook_environment("off"):
        copier.run_recopy(project, defaults=True, unsafe=True, overwrite=True, quiet=True)
    assert {path: path.read_bytes() for path in files(project)} == before


def files(project: Path) -> list[Path]:
    return sorted(path for path in project.rglob("*") if path.is_file())


def assert_commands_run_nothing(project: Path) -> None:
    """Every command of the Makefile, with `true` for Python: the shell reads all of it."""
    makefile = (project / "Makefile").read_text("utf-8")
    commands = re.findall(r"^([a-z]+):", makefile, re.MULTILINE)
    stubs = ["PYTHON=true", "SYSTEM_PYTHON=true"]
    for arguments in (["help"], ["--dry-run", *stubs, *commands], [*stubs, *commands]):
        done = subprocess.run(
            ["make", *arguments], cwd=project, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        if "--dry-run" in arguments:
            subprocess.run(["sh", "-n"], input=done.stdout, text=True, check=True, cwd=project)


def test_an_update_keeps_hostile_answers(tmp_path: Path) -> None:
    repository = helpers.template_repository(tmp_path / "template", "1.0.0")
    made = helpers.copy_project(
        tmp_path / "it's $(touch CANARY)", template=repository, ref="1.0.0", **answers(4)
    )
    helpers.commit_all(made, "made")
    before = yaml.safe_load((made / ".copier-answers.yml").read_text("utf-8"))
    helpers.commit_all(repository, "nothing new", "1.1.0")
    helpers.update_project(made, ref="1.1.0")
    after = yaml.safe_load((made / ".copier-answers.yml").read_text("utf-8"))
    assert {**after, "_commit": ""} == {**before, "_commit": ""}
    assert helpers.git(made, "diff", "--name-only").split() == [".copier-answers.yml"]
    assert list(tmp_path.rglob(CANARY)) == []
