"""Every project of the covering set with the packages that it pins: its own checks and tests.

Half an hour and more, so that `make suites` and a weekly workflow run it, `make test` does not.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import combinations
from projects import Installed, generate

pytestmark = pytest.mark.suites


@pytest.fixture(params=combinations.covering_for_this_run(), ids=combinations.name)
def project(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Installed]:
    """One project of the set, installed; removed afterwards, as they are many."""
    answers = dict(request.param)
    if answers["environment"] == "conda" and not shutil.which("conda"):
        answers["environment"] = "venv"
    yield generate(tmp_path / "project", hooks="install", **answers)
    shutil.rmtree(tmp_path / "project")


def test_its_own_checks_and_tests_pass(project: Installed) -> None:
    project.run("make", "lint")
    last = project.run("make", "test", timeout_s=1800).strip().splitlines()[-1]
    assert re.search(r"\d+ passed", last) and "failed" not in last, last
