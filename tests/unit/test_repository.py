"""What the repository says of itself is so: README, versions, continuous integration."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

import helpers

pytestmark = pytest.mark.unit

ROOT = helpers.ROOT
DOCUMENTS = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]


def targets() -> set[str]:
    return set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))


def test_two_commands_set_the_repository_up() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    section = readme.split("## Work on the template")[1]
    first = re.search(r"```sh\n(.*?)```", section, re.DOTALL)
    assert first and first[1].split("\n")[:-1] == ["make demo", "make test"]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_and_make_commands_of_a_document_exist(document: Path) -> None:
    text = document.read_text("utf-8")
    links = [link for link in re.findall(r"\]\(([^)\s#]+)", text) if "://" not in link]
    assert [link for link in links if not (document.parent / link).exists()] == []
    project = re.findall(r"^([a-z]+):", makefile_of_a_project(), re.MULTILINE)
    commands = re.findall(r"(?:^|`|&& )make ([a-z]+)", text, re.MULTILINE)
    assert set(commands) <= targets() | set(project)


def makefile_of_a_project() -> str:
    return (ROOT / "template/Makefile.jinja").read_text("utf-8")


def test_the_readme_shows_the_recorded_demo() -> None:
    recorded = (ROOT / "docs/demo.txt").read_text("utf-8").strip()
    assert recorded in (ROOT / "README.md").read_text("utf-8")
    assert recorded.startswith("$ make demo") and "demo: done in" in recorded.splitlines()[-1]


def test_the_readme_names_the_command_and_copiers_own_message(tmp_path: Path) -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    assert (
        "uvx --with copier-template-extensions copier copy --trust gh:org/ml-template my-project"
        in readme
    )
    # `-S` and a path without site-packages of ours would also hide Copier: hide the package alone.
    (tmp_path / "copier_template_extensions.py").write_text(
        "raise ModuleNotFoundError(\"No module named 'copier_template_extensions'\")\n", "utf-8"
    )
    done = copier(tmp_path, "copy", "--trust", "--defaults")
    said = done.stderr.splitlines()
    assert done.returncode != 0
    for line in said[:3]:
        assert line in readme, line


def test_without_trust_copier_names_the_option(tmp_path: Path) -> None:
    done = copier(tmp_path, "copy", "--defaults")
    assert done.returncode == 4 and "--trust" in done.stderr
    assert not (tmp_path / "project").exists()


def copier(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Copier's command line, with modules in `folder` found first."""
    program = "import sys; from copier.__main__ import CopierApp; CopierApp.run()"
    command = [sys.executable, "-c", program, *arguments]
    return subprocess.run(
        [*command, str(helpers.snapshot()), str(folder / "project")],
        env={**os.environ, "PYTHONPATH": str(folder), "ML_TEMPLATE_HOOKS": "off"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_both_integrations_call_the_readmes_command() -> None:
    script = (ROOT / ".ci/run").read_text("utf-8")
    assert script.rstrip().endswith("exec make test") and os.access(ROOT / ".ci/run", os.X_OK)
    workflow = yaml.safe_load((ROOT / ".github/workflows/template.yml").read_text("utf-8"))
    assert [step.get("run") for step in workflow["jobs"]["test"]["steps"]][-1] == ".ci/run"
    assert workflow["permissions"] == {"contents": "read"}


def test_every_tier_of_tests_is_run_fastest_first() -> None:
    order = ["tests/unit", "tests/render", "tests/run", "tests/update"]
    makefile = (ROOT / "Makefile").read_text("utf-8")
    assert f"TESTS ?= {' '.join(order)}" in makefile
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    assert settings["tool"]["pytest"]["ini_options"]["testpaths"] == order
    folders = {f"tests/{path.parent.name}" for path in (ROOT / "tests").glob("*/test_*.py")}
    assert folders == {*order, "tests/suites"}
    suites = yaml.safe_load((ROOT / ".github/workflows/matrix.yml").read_text("utf-8"))["jobs"]
    assert "make suites" in suites["suites"]["steps"][-1]["run"]


def test_our_tools_and_the_projects_have_the_same_versions() -> None:
    pattern = re.compile(r"^([a-z0-9-]+)==(\S+)", re.MULTILINE)
    ours = dict(pattern.findall((ROOT / "requirements-dev.txt").read_text("utf-8")))
    theirs = dict(pattern.findall((ROOT / "locks/transformers.txt").read_text("utf-8")))
    both = ours.keys() & theirs.keys()
    assert {"ruff", "mypy", "pytest", "pyyaml"} <= both
    assert {name: ours[name] for name in both} == {name: theirs[name] for name in both}


@pytest.mark.parametrize(
    ("state", "code", "says"),
    [
        ("a file", 2, "is there and is no demo"),
        ("someone's folder", 2, "is there and is no demo"),
    ],
)
def test_demo_replaces_nothing_but_a_demo(tmp_path: Path, state: str, code: int, says: str) -> None:
    folder = tmp_path / "demo"
    if state == "a file":
        folder.write_text("mine", "utf-8")
    else:
        folder.mkdir()
        (folder / ".copier-answers.yml").write_text("{}", "utf-8")
    command = [sys.executable, "tools/demo.py", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, says in done.stderr) == (code, True)
    assert folder.is_file() or (folder / ".copier-answers.yml").is_file()


def test_an_old_python_is_refused_in_a_sentence(tmp_path: Path) -> None:
    for name in ("python3", "python", *(f"python3.{minor}" for minor in (11, 12, 13, 14))):
        program = tmp_path / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text('#!/bin/sh\n[ "$1" = --version ] && echo Python 3.9.9\nexit 1\n')
        program.chmod(0o755)
    done = subprocess.run(
        ["/bin/sh", str(ROOT / "tools/install.sh")],
        cwd=tmp_path,
        env={"PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1 and not (tmp_path / ".venv").exists()
    assert "Python 3.11 or newer is needed and Python 3.9.9 was found" in done.stderr
