"""README.md, as a newcomer follows it: make a project, and update it to a new version."""

from __future__ import annotations

import os
from pathlib import Path

import bootstrap
import pytest
import yaml

import documents
import helpers
import terminals

pytestmark = pytest.mark.update

PAGE = helpers.ROOT / "README.md"
START = helpers.ROOT / "docs" / "index.md"


def test_its_commands_make_projects_and_update_them(tmp_path: Path) -> None:
    """What `make train`, `make setup` and `make test` call is run in tests/run, not here."""
    template = helpers.template_repository(tmp_path / "ml-template", "1.0.0")
    log = tmp_path / "log"
    python = terminals.python(tmp_path / "programs", log)
    path = f"{terminals.uvx(tmp_path / 'programs').parent}{os.pathsep}{os.environ['PATH']}"
    ours = {key: value for key, value in os.environ.items() if "MAKE" not in key and key != "ARGS"}
    environment = ours | {"PATH": path, "PYTHON": str(python), "SYSTEM_PYTHON": str(python)}
    environment["ML_TEMPLATE_HOOKS"] = "off"
    first, given, update = (block.text for block in documents.commands(PAGE))
    assert [block.text for block in documents.commands(START)] == [first]
    assert "\nmake train\n" in first and "--defaults" in given and "make update" in update

    said = terminals.type_line(
        first.replace(bootstrap.SOURCE, str(template)), tmp_path, environment
    )
    assert "What is the project called?" in said
    assert log.read_text("utf-8") == "scripts/train.py --config configs/train.yaml\n"
    said = terminals.type_line(
        given.replace(bootstrap.SOURCE, str(template)), tmp_path, environment
    )
    assert "What is the project called?" not in said
    stored = yaml.safe_load((tmp_path / "ticket-router/.copier-answers.yml").read_text("utf-8"))
    assert (stored["task"], stored["base_model"]) == ("text_classification", "scratch")

    project = tmp_path / "my-project"
    with (project / "README.md").open("a", encoding="utf-8") as readme:
        readme.write("\nOur own words.\n")
    helpers.commit_all(project, "made from the template")
    page = template / "template/docs/costs.md.jinja"
    page.write_text(page.read_text("utf-8") + "\nA line of the new version.\n", "utf-8")
    helpers.commit_all(template, "new", "1.1.0")
    said = terminals.type_line(update, project, environment)
    assert "+A line of the new version." in said
    assert "Our own words." in (project / "README.md").read_text("utf-8")
    assert log.read_text("utf-8").splitlines()[1:] == ["scripts/setup_env.py", "-m pytest"]
