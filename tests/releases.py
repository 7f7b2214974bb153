"""The released versions of this template, made from its history: no tags are needed."""

from __future__ import annotations

import csv
import os
import shutil
from functools import cache
from pathlib import Path

import pytest

import helpers

TABLE = helpers.ROOT / "tests" / "update" / "releases.csv"


@cache
def released() -> dict[str, str]:
    """Return each version's commit, oldest first."""
    with TABLE.open(encoding="utf-8", newline="") as file:
        return {row["version"]: row["commit"] for row in csv.DictReader(file)}


def newest() -> str:
    """Return the version under which the working tree takes part: the one after the last."""
    major, minor, *_ = list(released())[-1].split(".")
    return f"{major}.{int(minor) + 1}.0"


def repository(folder: Path) -> Path:
    """Clone this repository, tag its released versions, and the working tree as the newest."""
    require_history()
    helpers.git(helpers.ROOT, "clone", "--quiet", "--no-tags", ".", str(folder))
    for version, commit in released().items():
        helpers.git(folder, "tag", version, commit)
    for path in folder.iterdir():
        if path.name != ".git":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    helpers.copy_working_tree(folder)
    helpers.commit_all(folder, "the working tree", newest())
    return folder


def require_history() -> None:
    """Skip where the checkout lacks the released commits; in continuous integration, fail."""
    for version, commit in released().items():
        try:
            helpers.git(helpers.ROOT, "cat-file", "-e", f"{commit}^{{commit}}")
        except RuntimeError:
            sentence = (
                f"the commit of {version} is not in this checkout, so updates from it cannot be "
                "tested; run `git fetch --unshallow` (in a workflow: fetch-depth: 0)"
            )
            if os.environ.get("CI"):
                pytest.fail(sentence)
            pytest.skip(sentence)
