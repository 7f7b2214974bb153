"""A language model, in the project that `make demo` makes."""

from __future__ import annotations

import re

import pytest

from journey import *  # noqa: F403
from projects import Installed

pytestmark = pytest.mark.run

CASE = "llm"


def test_make_demo_ends_with_a_trained_step_and_a_prediction(project: Installed) -> None:
    assert re.search(r"step 1\b", project.said), project.said
    assert "prediction: " in project.said and '"text"' in project.said
    assert re.search(r"demo: done in \d+ s", project.said.strip().splitlines()[-1])
    assert (project.root / "uncommitted.txt").is_file(), "the demo shows the files as they are"
