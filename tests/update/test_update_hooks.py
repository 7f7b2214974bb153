"""The set-up steps around an update: one installation, in the real project, if the pins changed."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import pytest
import yaml

import helpers
import small_template as small

pytestmark = pytest.mark.update

OLD_PINS = small.FILES["requirements.txt"]
NEW_PINS = OLD_PINS.replace("numpy==1", "numpy==2")
SCRIPTS = ("setup_env", "doctor", "smoke_test")


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A template whose set-up scripts write their name and folder to a file, and that file."""
    folder = tmp_path_factory.mktemp("recording")
    record = folder / "calls.txt"
    stub = (
        "from pathlib import Path\n"
        f"with open({str(record)!r}, 'a') as calls:\n"
        "    calls.write(f'{Path(__file__).name} {Path.cwd()}\\n')\n"
    )
    steps = "scripts/machine/steps.py"
    tasks = yaml.safe_load((helpers.ROOT / "copier.yml").read_text("utf-8"))["_tasks"]
    files: dict[str, str | None] = {f"scripts/{name}.py": stub for name in SCRIPTS}
    files |= {steps: (helpers.ROOT / "template" / steps).read_text("utf-8")}
    files |= {"requirements.txt": NEW_PINS}
    return small.make(folder / "template", files, _tasks=tasks), record


@pytest.mark.parametrize("installed", [OLD_PINS, NEW_PINS, ""], ids=["old pins", "new", "none"])
def test_an_update_installs_once_and_only_when_the_pins_changed(
    recording: tuple[Path, Path], tmp_path: Path, installed: str
) -> None:
    template, record = recording
    record.write_text("", "utf-8")
    project = small.project(tmp_path / "project", template)
    if installed:
        stamp = json.dumps({"requirements": hashlib.sha256(installed.encode()).hexdigest()})
        (project / ".git/info/exclude").write_text(".venv\n", "utf-8")
        small.write(project / ".venv/.ml-template-requirements", stamp)
    helpers.update_project(project, hooks="all")
    calls = record.read_text("utf-8").splitlines()
    assert calls == ([f"setup_env.py {project}"] if installed == OLD_PINS else [])


def test_a_package_that_the_user_had_and_the_template_needs_now_is_named(
    recording: tuple[Path, Path], tmp_path: Path
) -> None:
    """Git merges the two pins without a conflict; no installer takes both."""
    template, record = recording
    record.write_text("", "utf-8")
    project = small.project(tmp_path / "project", template)
    stamp = {"requirements": hashlib.sha256(OLD_PINS.encode()).hexdigest()}
    (project / ".git/info/exclude").write_text(".venv\n", "utf-8")
    small.write(project / ".venv/.ml-template-requirements", json.dumps(stamp))
    small.write(project / "requirements.txt", f"{OLD_PINS}NumPy==3  # mine\n")
    helpers.commit_all(project, "mine")
    update = [sys.executable, "-m", "copier", "update", "--trust", "--defaults"]
    done = small.run([*update, "--vcs-ref", small.NEW], project, ML_TEMPLATE_HOOKS="all")
    assert done.returncode == 0, done.stderr
    merged = (project / "requirements.txt").read_text("utf-8")
    assert merged == f"{NEW_PINS}NumPy==3  # mine\n"
    assert "requirements.txt pins twice: numpy; `make lock` settles that." in done.stderr
    assert record.read_text("utf-8") == ""  # nothing was installed


def test_generation_runs_each_step_once(recording: tuple[Path, Path], tmp_path: Path) -> None:
    """The same record, where more is run."""
    template, record = recording
    record.write_text("", "utf-8")
    copier = [sys.executable, "-m", "copier", "copy", "--trust", "--defaults", "--vcs-ref"]
    command = [*copier, small.NEW, str(template), str(tmp_path / "project")]
    done = small.run(command, tmp_path, ML_TEMPLATE_HOOKS="doctor")
    assert done.returncode == 0, done.stderr
    calls = record.read_text("utf-8").splitlines()
    assert calls == [f"{name}.py {tmp_path / 'project'}" for name in ("setup_env", "doctor")]
