"""Projects of the covering set or the whole matrix, each rendered once in a test process."""

from __future__ import annotations

from pathlib import Path

import pytest

import combinations
import helpers
from projects import Rendered


@pytest.fixture(scope="session")
def rendered_projects() -> dict[str, Rendered]:
    """Hold what this process has rendered."""
    return {}


@pytest.fixture(params=combinations.chosen_for_this_run(), ids=combinations.name)
def project(
    request: pytest.FixtureRequest,
    rendered_projects: dict[str, Rendered],
    tmp_path_factory: pytest.TempPathFactory,
) -> Rendered:
    """One project of the set; tests only read it."""
    given = request.param
    key = combinations.name(given)
    if key not in rendered_projects:
        folder = tmp_path_factory.mktemp("render") / "project"
        rendered_projects[key] = Rendered(helpers.copy_project(folder, **given), given)
    return rendered_projects[key]


@pytest.fixture(scope="session")
def template() -> Path:
    """The folder of the template's files."""
    return helpers.snapshot() / "template"
