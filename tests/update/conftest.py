"""Projects of a small template, for `make update`, and copies of one made with the button."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import copies
import small_template as small


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small.make(tmp_path_factory.mktemp("small") / "template")


@pytest.fixture(scope="session")
def made(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small.project(tmp_path_factory.mktemp("made") / "project", template)


@pytest.fixture
def project(made: Path, tmp_path: Path) -> Path:
    """A project of the old version, committed."""
    return Path(shutil.copytree(made, tmp_path / "project"))


@pytest.fixture(scope="session")
def complete(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """That project, updated."""
    folder = tmp_path_factory.mktemp("complete") / "project"
    shutil.copytree(made, folder)
    done = small.update(folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def quick(tmp_path: Path, complete: Path) -> small.Quick:
    return small.Quick(tmp_path, complete)


@pytest.fixture(scope="session")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small template where it is released, in two versions; tests only read it."""
    return copies.small(tmp_path_factory.mktemp("upstream"))


@pytest.fixture
def origin(upstream: Path, tmp_path: Path) -> Path:
    """A repository just made from it with the button."""
    return copies.button(upstream, tmp_path / f"{copies.NAME}.git")
