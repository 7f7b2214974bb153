"""Pins that an update could not merge are settled by `make lock`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from machine_scripts import make_project, script

pytestmark = pytest.mark.unit
lock = script("lock")

BASE = ["aiohttp==1", "numpy==1  # torch", "torch==1", "zlib==1"]
OURS = ["aiohttp==1", "humanize==4", "numpy==1", "    # via torch", "torch==1", "zlib==1"]
THEIRS = ["aiohttp==1", "numpy==2  # torch", "torch==2", "zlib==1"]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("style", ["merge", "diff3"])
def test_of_a_conflict_the_templates_pins_are_taken(tmp_path: Path, style: str, end: str) -> None:
    """As git itself writes one."""
    for name, lines in (("ours", OURS), ("base", BASE), ("theirs", THEIRS)):
        (tmp_path / name).write_text("".join(line + end for line in lines), "utf-8", newline="")
    merged = subprocess.run(
        ["git", "-c", f"merge.conflictStyle={style}", "merge-file", "-p", "ours", "base", "theirs"],
        cwd=tmp_path,
        capture_output=True,
        check=False,
    )
    assert merged.returncode == 1
    text = merged.stdout.decode()
    assert "<<<<<<< ours" in text
    settled = lock.CONFLICT.sub(r"\1", text)
    assert settled == "".join(line + end for line in THEIRS)


@pytest.mark.parametrize(
    ("before", "after", "sentence"),
    [
        ("[project]", "<<<<<<< before updating\n[project]", "mend that line (after an update,"),
        ("requires-python", "requires", "pyproject.toml has no "),
    ],
)
def test_a_pyproject_that_cannot_be_read_is_told_in_a_sentence(
    tmp_path: Path, before: str, after: str, sentence: str
) -> None:
    project = make_project(tmp_path / "project")
    file = project / "pyproject.toml"
    file.write_text(file.read_text("utf-8").replace(before, after, 1), "utf-8")
    done = subprocess.run(
        [sys.executable, "scripts/lock.py"],
        cwd=project,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert sentence in done.stderr
