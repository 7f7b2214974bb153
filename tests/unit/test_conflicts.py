"""What stands in the place of the template's files."""

from __future__ import annotations

from pathlib import Path

import pytest

import helpers
from extensions import conflicts

pytestmark = pytest.mark.unit


def test_an_update_refuses_to_overwrite_what_git_ignores(tmp_path: Path) -> None:
    template, project = tmp_path / "template", tmp_path / "project"
    (template / "{{chosen}}" / "deploy").mkdir(parents=True)
    for name in ("{{chosen}}/deploy/own.yaml.jinja", "known.txt", "new.txt", "held.txt"):
        (template / name).write_text("the template's")
    (project / "deploy").mkdir(parents=True)
    for name in (".copier-answers.yml", "deploy/own.yaml", "known.txt", "held.txt", "mine.log"):
        (project / name).write_text("the user's")
    (project / ".gitignore").write_text("/deploy/\n/held.txt\n*.log\n.copier-answers.yml\n")
    helpers.commit_all(project, "ours")
    context = {"_copier_conf": {"dst_path": project, "overwrite": True}, "chosen": "."}

    said = conflicts.ignored(template, context)
    assert said.startswith("deploy/own.yaml, held.txt would be overwritten, and git")
    assert "git add -f deploy/own.yaml" in said

    helpers.git(project, "add", "--force", "deploy/own.yaml", "held.txt")
    assert conflicts.ignored(template, context) == ""


def test_nothing_is_refused_outside_an_update_and_outside_git(tmp_path: Path) -> None:
    (tmp_path / "template").mkdir()
    (tmp_path / "template" / "held.txt").write_text("the template's")
    (tmp_path / "held.txt").write_text("the user's")
    for folder in (None, tmp_path, tmp_path / "gone"):
        context = {"_copier_conf": {"dst_path": folder}}
        assert conflicts.ignored(tmp_path / "template", context) == ""
    (tmp_path / ".copier-answers.yml").write_text("_commit: 1.0.0\n")
    context = {"_copier_conf": {"dst_path": tmp_path}}
    assert conflicts.ignored(tmp_path / "template", context) == ""


@pytest.mark.parametrize(
    ("place", "kind", "sentence"),
    [
        ("models", "link out", "models is a link that leads out of the project, where models/a.md"),
        ("models", "link within", ""),
        ("models", "file", "models is a file, and models/a.md needs a folder there"),
        (
            "models",
            "link to nothing",
            "models is a link to nothing, and models/a.md needs a folder",
        ),
        ("models", "link to itself", "models is a link to nothing, and models/a.md needs a folder"),
        ("models/a.md", "folder", "models/a.md is a folder, and the template has a file there"),
        ("models/a.md", "file", ""),
        ("data/deep", "link out", "data/deep is a link that leads out of the project"),
    ],
)
def test_what_stands_in_the_way_is_named(
    tmp_path: Path, place: str, kind: str, sentence: str
) -> None:
    template, project, disk = (tmp_path / name for name in ("template", "project", "disk"))
    for name in ("models/a.md", "data/deep/b.csv"):
        (template / name).parent.mkdir(parents=True)
        (template / name).write_text("the template's")
    (project / "elsewhere").mkdir(parents=True)
    disk.mkdir()
    there = project / place
    there.parent.mkdir(parents=True, exist_ok=True)
    if kind == "folder":
        there.mkdir()
    elif kind == "file":
        there.write_text("the user's")
    else:
        targets = {"link out": disk, "link within": project / "elsewhere", "link to itself": there}
        there.symlink_to(targets.get(kind, "nowhere"))
    said = conflicts.blocked(template, {"_copier_conf": {"dst_path": project}})
    assert said.startswith(sentence) and bool(said) == bool(sentence)
