"""Fixtures of the tests of advice, and of setting up an environment."""

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
