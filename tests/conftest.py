"""Fixtures of all tests."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import helpers

# Their asserts then say what differed, as those of test files do.
pytest.register_assert_rewrite("journey", "projects")


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Hide this machine's nvidia-smi, so that defaults are the same everywhere."""
    _fake_nvidia_smi(monkeypatch, tmp_path, "exit 9")


@pytest.fixture
def with_gpus(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., None]:
    """Return a function that makes nvidia-smi answer with these product names."""

    def fake(*names: str) -> None:
        lines = "\n".join(f"echo '{name}'" for name in names)
        _fake_nvidia_smi(monkeypatch, tmp_path, lines)

    return fake


def _fake_nvidia_smi(monkeypatch: pytest.MonkeyPatch, folder: Path, body: str) -> None:
    programs = folder / "programs"
    programs.mkdir(exist_ok=True)
    program = programs / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{body}\n", "utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(programs), prepend=":")


@pytest.fixture(scope="session", autouse=True)
def _remove_snapshot() -> Iterator[None]:
    yield
    if helpers.snapshot.cache_info().currsize:
        shutil.rmtree(helpers.snapshot().parent, ignore_errors=True)
