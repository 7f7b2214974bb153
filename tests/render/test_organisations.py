"""Projects of a fork with the settings and files of docs/organisations.md."""

from __future__ import annotations

import configparser
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from jinja2 import Environment

import forks
import helpers
from extensions import context
from projects import Rendered

pytestmark = pytest.mark.render

OWN = Path("template", "{{organisation}}")
ESTIMATE = Path("src", "ticket_router", "estimate", "__init__.py")


def fork_of(folder: Path) -> Path:
    """Return a copy of the template as it stands, without an organisation."""
    shutil.copytree(helpers.snapshot(), folder)
    return folder


def copy(folder: Path, template: Path, **answers: Any) -> Rendered:
    given = {"author_name": None, "author_email": None, "task": "text_classification", **answers}
    return Rendered(helpers.copy_project(folder, template=template, **given), given)


@pytest.fixture(scope="module")
def acme(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The template of the example."""
    return forks.add_to(fork_of(tmp_path_factory.mktemp("fork") / "acme-template"))


@pytest.fixture(scope="module")
def made(acme: Path, tmp_path_factory: pytest.TempPathFactory) -> Rendered:
    """A project of it, for the organisation's own GPU."""
    folder = tmp_path_factory.mktemp("acme") / "project"
    return copy(folder, acme, gpu="H100-half", serving=["fastapi"], environment="venv")


def test_defaults_and_fixed_answers_arrive(made: Rendered) -> None:
    answers = made.answers
    assert answers["author_name"] == "Acme Research"
    assert answers["tracking"] == ["mlflow"]
    assert (answers["license"], answers["target"]) == ("Acme-Internal", "cloud")
    decisions = (made.root / "docs/decisions.md").read_text("utf-8")
    assert "## Fixed by Acme\n\n- `license`: our code leaves the company" in decisions


def test_a_licence_of_its_own_is_text_and_metadata(made: Rendered) -> None:
    licence = (made.root / "LICENSE").read_text("utf-8")
    assert licence.endswith(" Acme Research. For use within Acme only.\n")
    project = tomllib.loads((made.root / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["license"] == "LicenseRef-Acme-Internal"
    assert project["classifiers"] == ["Private :: Do Not Upload"]


def test_its_files_come_and_those_of_a_choice_with_the_choice(
    made: Rendered, acme: Path, tmp_path: Path
) -> None:
    assert (made.root / "SUPPORT.md").read_text("utf-8").startswith("# Support for Ticket router")
    assert (made.root / ".github/CODEOWNERS").is_file()
    other = copy(tmp_path / "other", acme, ci="gitlab")
    assert (other.root / "SUPPORT.md").is_file()
    assert not (other.root / ".github").exists()


def test_the_project_estimates_with_the_rows_of_the_questions(made: Rendered, acme: Path) -> None:
    asked: Any = context.Template(Environment(), acme).estimate
    theirs: Any = context.load(made.root / ESTIMATE, package=True)
    assert "H100-half" in theirs.gpus() and "acme/ticket-encoder" in theirs.models()
    for table in ("gpus", "models", "prices"):
        assert theirs.tables.rows(table) == asked.tables.rows(table), table
    cheapest = theirs.quotes("H100", 8)[0]
    assert (cheapest.provider, cheapest.usd_per_hour) == ("acme-cluster", 9.6)
    assert cheapest.as_of == "2026-11-02"


def test_its_models_are_proposed(acme: Path, tmp_path: Path) -> None:
    made = copy(tmp_path / "project", acme)
    assert made.answers["base_model"] == "acme/ticket-encoder"


def test_its_index_is_in_the_files_of_uv_pip_and_docker(made: Rendered) -> None:
    (index,) = forks.settings()["indexes"]
    project = tomllib.loads((made.root / "pyproject.toml").read_text("utf-8"))
    assert project["tool"]["uv"] == {"managed": False, "index": [index]}
    pip = configparser.RawConfigParser()
    pip.read(made.root / "pip.conf", encoding="utf-8")
    assert dict(pip["global"]) == {"index-url": index["url"]}
    dockerfile = (made.root / "Dockerfile").read_text("utf-8").splitlines()
    for number, line in enumerate(dockerfile):
        if line.startswith("COPY") and "requirements.txt" in line:
            assert dockerfile[number - 1] == "COPY pip.conf /etc/pip.conf"
    assert dockerfile.count("COPY pip.conf /etc/pip.conf") == 2
    assert "!pip.conf" in (made.root / ".dockerignore").read_text("utf-8").splitlines()


@pytest.mark.parametrize("own", ["", "https://me.example/simple"])
def test_set_up_hands_pip_the_index_unless_the_user_has_one(
    made: Rendered, tmp_path: Path, own: str
) -> None:
    """By the project's own script, asking the real pip."""
    (tmp_path / "pip").mkdir()
    if own:
        (tmp_path / "pip/pip.conf").write_text(f"[global]\nindex-url = {own}\n", "utf-8")
    program = (
        "import subprocess, sys; from pathlib import Path\n"
        "from machine.environments import Project; from machine.packages import Installer\n"
        "project = Project(Path.cwd(), '>=3.11,<3.14')\n"
        "installer = Installer.of(project, 'venv', '', print)\n"
        "assert installer._own_sources(), 'uv would ask the index of PyTorch'\n"
        "pip = [sys.executable, '-m', 'pip', 'config', 'list']\n"
        "print(subprocess.run(pip, env=installer.env, capture_output=True, text=True).stdout)\n"
    )
    keep = {key: value for key, value in os.environ.items() if not key.startswith(("PIP_", "UV_"))}
    home = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path), "PYTHONPATH": "scripts"}
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=made.root,
        env={**keep, **home},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    chosen = [line for line in done.stdout.splitlines() if line.startswith("global.index-url=")]
    assert chosen[-1:] == [f"global.index-url='{own or forks.settings()['indexes'][0]['url']}'"]


def test_settings_that_decide_nothing_change_nothing(tmp_path: Path) -> None:
    template = fork_of(tmp_path / "template")
    plain = helpers.contents(copy(tmp_path / "plain", template).root)
    (template / forks.SETTINGS).write_text("name: Acme\n", "utf-8")
    assert helpers.contents(copy(tmp_path / "named", template).root) == plain
    assert "pip.conf" not in plain and b"uv.index" not in plain["pyproject.toml"]


def test_the_settings_of_this_repository_make_a_project(tmp_path: Path) -> None:
    """In a fork its own; here the example's, which must not name what is not there."""
    template = fork_of(tmp_path / "template")
    if (helpers.ROOT / forks.SETTINGS).is_file():
        shutil.copy2(helpers.ROOT / forks.SETTINGS, template)
        if (helpers.ROOT / OWN).is_dir():
            shutil.copytree(helpers.ROOT / OWN, template / OWN)
    else:
        forks.add_to(template)
    settings = yaml.safe_load((template / forks.SETTINGS).read_text("utf-8"))
    folder = tmp_path / "project"
    made = Rendered(helpers.copy_project(folder, template=template, license=None), {})
    for key, entry in (settings.get("fixed") or {}).items():
        assert made.answers[key] == entry["value"]
    assert [
        path for path in made.files("*.md", "*.toml", "LICENSE") if b"{{" in path.read_bytes()
    ] == []
