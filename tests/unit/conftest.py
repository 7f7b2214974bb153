"""Fixtures of the tests of setting up an environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from fake_uv import Machine
from machine_scripts import make_project


@pytest.fixture
def box(tmp_path: Path) -> Machine:
    """A machine with a fake uv."""
    return Machine(tmp_path)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project to set up, in a folder whose name scripts must quote."""
    return make_project(tmp_path / "Prøject with spaces 模型")
