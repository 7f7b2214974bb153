"""Fixtures of the tests of advice, of setting up an environment, and of the service."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

import advising
from extensions import advice as advice_module
from extensions import machine
from fake_uv import Machine
from machine_scripts import make_project


@pytest.fixture(autouse=True)
def forget_the_machine() -> None:
    """Each test may fake other GPUs."""
    machine.nvidia_gpus.cache_clear()


@pytest.fixture(scope="module")
def estimate() -> ModuleType:
    """The generated package's estimate."""
    return advising.estimate()


@pytest.fixture
def advise() -> Callable[..., advice_module.Advice]:
    """Return a function from answers to the advice on them."""
    return advising.advise


@pytest.fixture
def box(tmp_path: Path) -> Machine:
    """A machine with a fake uv."""
    return Machine(tmp_path)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project to set up, in a folder whose name scripts must quote."""
    return make_project(tmp_path / "Prøject with spaces 模型")


@pytest.fixture
def computed(tmp_path: Path) -> Path:
    """What the service's stub has computed, a batch a line."""
    return tmp_path / "project/models/a-run/final/computed.log"


@pytest.fixture
def free(tmp_path: Path) -> Path:
    """Once this file is there, the stub is done with `hold`."""
    return tmp_path / "project/free"
