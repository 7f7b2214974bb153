"""The commands of docs/updating.md, each typed in a project that has a new version."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest
import yaml

import documents
import helpers
import ownership
import terminals

pytestmark = pytest.mark.update

PAGE = helpers.ROOT / "docs" / "updating.md"
README = "template/README.md.jinja"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real questions, Makefile, scripts and licences, and few other files: for speed."""
    files = {"README.md.jinja": "# {{ project_name }}\n\nversion 0\n"}
    folder = helpers.miniature(tmp_path_factory.mktemp("template") / "ml-template", files)
    for name in ("Makefile.jinja", "scripts", *(p.name for p in licences())):
        source, target = helpers.snapshot() / "template" / name, folder / "template" / name
        shutil.copytree(source, target) if source.is_dir() else shutil.copy2(source, target)
    helpers.commit_all(folder, "old", "1.0.0")
    return folder


def licences() -> list[Path]:
    return sorted((helpers.ROOT / "template").glob("{{license_*}}"))


def release(template: Path, number: int) -> None:
    text = f"# {{{{ project_name }}}}\n\nversion {number}\n"
    (template / README).write_text(text, "utf-8")
    helpers.commit_all(template, "new", f"1.{number}.0")


def test_its_table_says_whose_files_are_as_a_projects_readme_does() -> None:
    readme = (helpers.ROOT / "template/README.md.jinja").read_text("utf-8")
    readme = re.sub(r"{{ (\w+) }}", r"\1", re.sub(r"{%.*?%}", "", readme))
    changes = {
        ownership.YOURS: "you",
        ownership.TEMPLATES: "the template",
        "written by `make lock`": "`make lock`",
        "written by `make update`": "the update",
    }
    said = ownership.table(readme).items()
    expected = {name.removeprefix("src/package_name/"): changes[owner] for name, owner in said}
    row = rf"(?m)^\| ([^|]*`[^|]*) \| ({'|'.join(changes.values())})[^|]* \|"
    rows = re.findall(row, PAGE.read_text("utf-8"))
    assert {name: who for names, who in rows for name in re.findall(r"`(.+?)`", names)} == expected


def test_every_command_does_what_the_page_says(template: Path, tmp_path: Path) -> None:
    """What `make setup` and `make test` call is run in tests/run, not here."""
    project = helpers.copy_project(tmp_path / "project", template=template, ref="1.0.0")
    helpers.commit_all(project, "made from the template")
    log = tmp_path / "log"
    python = terminals.python(tmp_path / "programs", log)
    path = f"{terminals.uvx(tmp_path / 'programs').parent}{os.pathsep}{os.environ['PATH']}"
    ours = {key: value for key, value in os.environ.items() if "MAKE" not in key and key != "ARGS"}
    environment = ours | {"PATH": path, "PYTHON": str(python), "SYSTEM_PYTHON": str(python)}
    lines = [line for block in documents.commands(PAGE) for line in block.text.splitlines()]
    updates = [line for line in lines if line.startswith("make update")]
    assert len(updates) >= 3, "mend this test"
    for number, line in enumerate(updates, start=1):
        release(template, number)
        said = terminals.type_line(line, project, environment)
        assert f"version {number}\n" in (project / "README.md").read_text("utf-8"), said
        asked = "ARGS=" not in line or "--data" in line
        assert ("What is the project called?" in said) == asked, said
        stored = yaml.safe_load((project / ".copier-answers.yml").read_text("utf-8"))
        for key, value in re.findall(r"--data (\w+)=([\w-]+)", line):
            assert stored[key] == value
            assert f"{value} License" in (project / "LICENSE").read_text("utf-8")
        if line != updates[-1]:
            helpers.commit_all(project, "updated")
    for line in lines:
        if line not in updates:
            assert f"+version {len(updates)}" in terminals.type_line(line, project, environment)
    assert log.read_text("utf-8").splitlines() == ["scripts/setup_env.py", "-m pytest"]
