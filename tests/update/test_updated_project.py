"""Updated projects run: their packages install, their own tests and their smoke test pass."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import releases
import updating
from projects import Installed, tool_environment

pytestmark = pytest.mark.update

FIRST, *_, LAST = releases.released()
TESTS = ("config", "rows", "metrics", "data", "training", "checkpoints", "our_features")


@pytest.mark.parametrize(
    "scenario",
    [
        updating.Scenario(FIRST, "text", "own_files"),
        updating.Scenario(LAST, "llm", "everything", "no serving"),
    ],
    ids=str,
)
def test_an_updated_project_passes_its_own_tests(
    scenario: updating.Scenario, tmp_path: Path
) -> None:
    template = releases.repository(tmp_path / "ml-template")
    workshop = updating.Workshop(tmp_path / "workshop", template)
    outcome = updating.play(workshop, scenario, tmp_path)
    assert (outcome.wrong, outcome.expected.conflicts) == ((), ())
    project = Installed(tmp_path / "project", scenario.answers)
    subprocess.run(
        [sys.executable, "scripts/setup_env.py"],
        cwd=project.root,
        env={**os.environ, **tool_environment()},
        check=True,
        timeout=600,
    )
    tests = [f"tests/test_{name}.py" for name in TESTS]
    project.run(project.python, "-m", "pytest", "-q", "-x", *tests)
    project.run(*project.script("smoke_test"))
