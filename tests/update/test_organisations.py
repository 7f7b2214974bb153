"""A fork as docs/organisations.md makes it: it merges what is new here, and its projects update."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

import forks
import helpers

pytestmark = pytest.mark.update

FIRST, SECOND = "1.0.0+acme.1", "1.1.0+acme.1"
TABLES = Path("template", "src", "{{package_name}}", "estimate", "tables")


def develop(upstream: Path) -> None:
    """Commit what a release of the template may bring, in every place that settings reach."""
    replace(upstream / "copier.yml", "What is the project called?", "How is the project called?")
    replace(upstream / "copier.yml", "MIT — open, short", "MIT — open and short")
    replace(upstream / "extensions/tables.py", ", like {given[LIKE]}", ", as {given[LIKE]}")
    replace(upstream / "extensions/pins.py", 'return "this project" if', 'return "the project" if')
    replace(upstream / "locks/transformers.txt", "tqdm==", "tqdm==4.0.0+newer.")
    replace(upstream / TABLES / "prices.csv", "T4,1,0.526,", "T4,1,0.625,")
    replace(upstream / "template/pyproject.toml.jinja", "managed = false", "managed = false  # yes")
    helpers.commit_all(upstream, "the next version", "1.1.0")


def decide_otherwise(fork: Path) -> None:
    """Commit other settings: another fixed licence, default and price, and another text."""
    path = fork / forks.SETTINGS
    settings: dict[str, Any] = yaml.safe_load(path.read_text("utf-8"))
    settings["fixed"]["license"] = {"value": "MIT", "reason": "we publish now"}
    settings["defaults"] = {"tracking": ["wandb"]}
    settings["prices"][0]["usd_per_hour"] = 7.77
    path.write_text(yaml.safe_dump(settings), "utf-8")
    own = fork / "template" / "{{organisation}}"
    (own / "SUPPORT.md.jinja").write_text("# Support\n\nAsk the platform team.\n", "utf-8")
    helpers.commit_all(fork, "other settings")


def replace(path: Path, old: str, new: str) -> None:
    text = path.read_text("utf-8")
    assert old in text, f"{path.name} no longer holds {old!r}: mend this test"
    path.write_text(text.replace(old, new), "utf-8")


def answers(project: Path) -> dict[str, Any]:
    stored: dict[str, Any] = yaml.safe_load((project / ".copier-answers.yml").read_text("utf-8"))
    return stored


def test_a_fork_merges_and_its_projects_follow(tmp_path: Path) -> None:
    upstream = helpers.template_repository(tmp_path / "ml-template")
    fork = forks.release_first(tmp_path, upstream)
    chosen: dict[str, Any] = {"author_name": None, "author_email": None, "gpu": "H100-half"}
    project = helpers.copy_project(tmp_path / "project", template=fork, ref=FIRST, **chosen)
    helpers.commit_all(project, "made from the fork")
    assert (answers(project)["_commit"], answers(project)["license"]) == (FIRST, "Acme-Internal")

    develop(upstream)
    decide_otherwise(fork)
    forks.release_second(fork)
    differing = helpers.git(fork, "diff", "--name-only", "upstream/main", "HEAD").splitlines()
    assert differing == sorted(path for path in tracked(fork) if is_theirs(path))

    helpers.update_project(project, ref=SECOND)
    now = answers(project)
    assert (now["license"], now["tracking"]) == ("MIT", ["mlflow"]), "the default is for new ones"
    assert "MIT" in (project / "LICENSE").read_text("utf-8").splitlines()[0]
    assert (project / "SUPPORT.md").read_text("utf-8") == "# Support\n\nAsk the platform team.\n"
    tables = project / "src/ticket_router/estimate/tables"
    assert '"Acme, as H100"' in (tables / "gpus.csv").read_text("utf-8")
    prices = (tables / "prices.csv").read_text("utf-8")
    assert "T4,1,0.625," in prices and "acme-cluster,h100-node,H100,8,7.77," in prices

    given = {key: value for key, value in now.items() if not key.startswith("_")}
    fresh = helpers.copy_project(tmp_path / "fresh", template=fork, ref=SECOND, **given)
    assert differences(project, fresh) == ""


def test_without_the_settings_a_project_goes_back_to_the_template(tmp_path: Path) -> None:
    """Who leaves the organisation updates from upstream; nothing of the fork may be in the way."""
    upstream = helpers.template_repository(tmp_path / "ml-template")
    fork = forks.release_first(tmp_path, upstream)
    project = helpers.copy_project(tmp_path / "project", template=fork, ref=FIRST)
    helpers.commit_all(project, "made from the fork")
    helpers.git(fork, "rm", "-r", "--quiet", forks.SETTINGS, "template/{{organisation}}")
    helpers.commit_all(fork, "no more settings", SECOND)
    helpers.update_project(project, ref=SECOND)
    now = answers(project)
    assert now["license"] == "Apache-2.0" and not (project / "SUPPORT.md").exists()
    given = {key: value for key, value in now.items() if not key.startswith("_")}
    fresh = helpers.copy_project(tmp_path / "fresh", template=fork, ref=SECOND, **given)
    assert differences(project, fresh) == ""


def tracked(repository: Path) -> list[str]:
    return helpers.git(repository, "ls-files").splitlines()


def is_theirs(path: str) -> bool:
    return path.startswith((forks.SETTINGS, "template/{{organisation}}/"))


def differences(project: Path, expected: Path) -> str:
    """Commit a project, lay another one in its place, and return what git says has changed."""
    helpers.commit_all(project, "updated")
    for path in project.iterdir():
        if path.name != ".git":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    shutil.copytree(expected, project, dirs_exist_ok=True)
    return helpers.git(project, "status", "--porcelain", "--ignored")
