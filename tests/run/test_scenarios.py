"""Each scenario's project is made with the defaults, passes the doctor, and trains one step."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

import helpers
from projects import Installed
from scenarios import SCENARIOS, Scenario

pytestmark = pytest.mark.run


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_it_renders_passes_the_doctor_and_smokes(
    scenario: Scenario,
    environment: Path,
    tmp_path: Path,
    with_gpus: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with_gpus(*scenario.gpus)
    answers = {"gpu": None, **scenario.given}
    root = helpers.copy_project(tmp_path / "project", **answers)
    monkeypatch.undo()  # the doctor looks at the machine as it is
    stored = yaml.safe_load((root / ".copier-answers.yml").read_text("utf-8"))
    expected = {key: value for key, value in scenario.expected.items() if key in stored}
    assert {key: stored[key] for key in expected} == expected

    (root / ".venv").symlink_to(environment)
    project = Installed(root, stored["task"])
    findings = json.loads(project.run(project.python, "scripts/doctor.py", "--json"))
    assert findings["ok"], findings
    said = project.run("make", "smoke")
    assert "smoke test passed" in said
