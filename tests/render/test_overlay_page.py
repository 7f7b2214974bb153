"""docs/overlays.md, followed word for word in a copy of the template."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import documents
import helpers

pytestmark = pytest.mark.render

PAGE = helpers.ROOT / "docs" / "overlays.md"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone to which the page's change and files were applied."""
    folder = helpers.template_repository(tmp_path_factory.mktemp("overlay") / "ml-template")
    for block in documents.blocks(PAGE):
        if block.language == "diff":
            subprocess.run(["git", "apply", "-"], cwd=folder, input=block.text.encode(), check=True)
        elif block.title:
            path = folder / block.title
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text, "utf-8")
    return folder


def test_its_commands_run(template: Path) -> None:
    # what `make` would install: here the tools that run this test
    tools = template / ".venv"
    (tools / "bin").mkdir(parents=True)
    python = tools / "bin" / "python"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n', "utf-8")
    python.chmod(0o755)
    (tools / ".installed").touch()
    script = "".join(block.text for block in documents.commands(PAGE))
    # as someone does who reads the page, outside of the `make` that runs this test
    ours = {key for key in os.environ if "MAKE" in key or key == "ML_TEMPLATE_MATRIX"}
    environment = {key: value for key, value in os.environ.items() if key not in ours}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=template,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert " passed" in done.stdout and "failed" not in done.stdout
    project = template.parent / "azure-project"
    pipeline = yaml.safe_load((project / "azure-pipelines.yml").read_text("utf-8"))
    assert [step["script"] for step in pipeline["steps"] if "script" in step] == [
        f"make {target}" for target in ("setup", "lint", "test", "smoke")
    ]
    assert (project / "azure-image.yml").is_file()
    assert not (project / ".github").exists()


def test_both_choices_are_needed_for_a_nested_folder(template: Path, tmp_path: Path) -> None:
    project = helpers.copy_project(
        tmp_path / "p", template=template, ref="HEAD", ci="azure", serving=[], environment="conda"
    )
    assert not (project / "azure-image.yml").exists()
    assert "task.prependpath" in (project / "azure-pipelines.yml").read_text("utf-8")


def test_no_other_project_changes(template: Path, tmp_path: Path) -> None:
    before = helpers.copy_project(tmp_path / "before" / "p", ci="gitlab")
    after = helpers.copy_project(
        tmp_path / "after" / "p", template=template, ref="HEAD", ci="gitlab"
    )
    assert contents(before) == contents(after)


def contents(project: Path) -> dict[str, bytes]:
    """Return every file but the answers, which say where the template is."""
    found = helpers.contents(project)
    del found[".copier-answers.yml"]
    return found
