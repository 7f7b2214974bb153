"""A fork as docs/organisations.md makes it: its commands are run and its files are written."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import yaml

import documents
import helpers

DOCUMENT = helpers.ROOT / "docs" / "organisations.md"
ADDRESS = "https://git.example.org/ml-template"
SETTINGS = "organisation.yml"


def files() -> dict[str, str]:
    """Return the files of the example by path."""
    return {block.title: block.text for block in documents.blocks(DOCUMENT) if block.title}


def commands() -> list[str]:
    """Return the example's shell blocks: clone, first release, merge and second release."""
    found = [block.text for block in documents.commands(DOCUMENT)]
    assert len(found) == 3 and "clone" in found[0] and "merge" in found[2], "mend this helper"
    return found


def add_to(template: Path) -> Path:
    """Add the example's file and folder to a template."""
    for name, text in files().items():
        path = template / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    return template


def release_first(folder: Path, upstream: Path) -> Path:
    """Do what the document does up to the first tag, and return the fork."""
    clone, first, _ = commands()
    run(folder, clone.replace(ADDRESS, str(upstream)))
    fork = add_to(folder / "acme-template")
    run(fork, first)
    return fork


def release_second(fork: Path) -> None:
    """Merge what is new upstream, and tag it."""
    run(fork, commands()[2])


def run(folder: Path, text: str) -> None:
    """Run shell commands as somebody whom git knows."""
    person = {
        f"GIT_{role}_{what}": f"{what}@example.org".lower()
        for role in ("AUTHOR", "COMMITTER")
        for what in ("NAME", "EMAIL")
    }
    done = subprocess.run(
        ["sh", "-eu"],
        input=text,
        cwd=folder,
        env={**os.environ, **person},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{text}\n{done.stderr}"


def settings() -> dict[str, Any]:
    """Return the settings of the example."""
    found: dict[str, Any] = yaml.safe_load(files()[SETTINGS])
    return found
