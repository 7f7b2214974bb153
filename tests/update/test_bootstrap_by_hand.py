"""`./bootstrap`, by a person in a clone of a copy made with "Use this template"."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from bootstrap import SOURCE, RefusedError, check_source

import copies
import helpers
import workflow
from copies import NAME, NEW, OLD, answers, bootstrap, clone

pytestmark = pytest.mark.update


@pytest.mark.parametrize("tool", ["uv", "pip"])
def test_bootstrap_gets_copier_for_itself(
    upstream: Path, origin: Path, tmp_path: Path, tool: str
) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    base = Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info.minor}"
    (programs / "python3").symlink_to(base)  # which has no Copier
    if tool == "uv":
        (programs / "uv").symlink_to(Path(sys.executable).with_name("uv"))
    elsewhere = [f for f in os.environ["PATH"].split(os.pathsep) if not (Path(f) / "uv").exists()]
    mine = clone(origin, tmp_path / NAME)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    path = os.pathsep.join([str(programs), *elsewhere])
    variables = {"PATH": path, "TMPDIR": str(scratch), "UV_PYTHON": str(base)}
    arguments = ["--defaults", "--data", "task=llm", "--template", copies.address(upstream)]
    done = bootstrap(mine, *arguments, **variables)
    assert done.returncode == 0, done.stderr
    assert "getting Copier" in done.stderr and "make setup doctor smoke" in done.stdout
    assert (answers(mine)["task"], answers(mine)["_commit"]) == ("llm", NEW)
    assert helpers.git(mine, "status", "--porcelain") == ""
    assert list(scratch.iterdir()) == []
    assert len(helpers.git(mine, "worktree", "list").splitlines()) == 1


def test_bootstrap_a_second_time_does_nothing(upstream: Path, origin: Path, tmp_path: Path) -> None:
    mine = clone(origin, tmp_path / "mine")
    (mine / ".copier-answers.yml").write_text("{}", "utf-8")
    before = helpers.git(mine, "rev-parse", "HEAD")
    done = bootstrap(mine, "--defaults", "--template", copies.address(upstream))
    assert (done.returncode, "a project already" in done.stdout) == (0, True)
    assert helpers.git(mine, "rev-parse", "HEAD") == before


def test_bootstrap_names_what_you_had_written_into_its_files(
    upstream: Path, origin: Path, tmp_path: Path
) -> None:
    mine = clone(origin, tmp_path / "mine")
    (mine / "README.md").write_text("# Ours\n", "utf-8")
    (mine / "plan.md").write_text("# Plan\n", "utf-8")
    helpers.commit_all(mine, "ours")
    done = bootstrap(mine, "--defaults", "--template", copies.address(upstream))
    assert done.returncode == 0, done.stderr
    assert "git show HEAD~1:README.md" in done.stdout and "plan.md" not in done.stdout
    assert helpers.git(mine, "show", "HEAD~1:README.md") == "# Ours\n"


def test_bootstrap_leaves_nothing_out_that_git_ignores_here(
    upstream: Path, origin: Path, tmp_path: Path
) -> None:
    mine = clone(origin, tmp_path / "mine")
    whole = clone(origin, tmp_path / "whole")
    (mine / ".git/info/exclude").write_text("*.py\n*.txt\nconfigs/\nREADME.md\n", "utf-8")
    for copy in (mine, whole):
        done = bootstrap(copy, "--defaults", "--template", copies.address(upstream))
        assert done.returncode == 0, done.stderr
    listed = [helpers.git(copy, "ls-files") for copy in (mine, whole)]
    assert listed[0] == listed[1] and "README.md" in listed[0]


# ── Why not ──


@dataclass
class Attempt:
    """What is tried, and where."""

    upstream: Path
    origin: Path
    elsewhere: Path
    """An empty folder."""
    mine: Path
    """The clone in which ./bootstrap is called."""
    template: str
    arguments: list[str] = field(default_factory=list)
    variables: dict[str, str] = field(default_factory=dict)


def with_changes(attempt: Attempt) -> None:
    (attempt.mine / "notes.txt").write_text("mine", "utf-8")


def with_history(attempt: Attempt) -> None:
    mine = attempt.mine = clone(attempt.upstream, attempt.elsewhere / "history")
    helpers.git(mine, "rm", "--quiet", "copier.yml")
    helpers.git(mine, "checkout", "--quiet", "--orphan", "first")
    helpers.commit_all(mine, "a first commit without all files")
    helpers.git(mine, "checkout", "--quiet", OLD, "--", "copier.yml")
    helpers.commit_all(mine, "more")


def shallow(attempt: Attempt) -> None:
    helpers.commit_all(attempt.mine, "more")
    helpers.git(attempt.mine, "push", "--quiet")
    attempt.mine = attempt.elsewhere / "shallow"
    address = f"file://{attempt.origin}"
    helpers.git(attempt.elsewhere, "clone", "--quiet", "--depth=1", address, str(attempt.mine))


def without_git(attempt: Attempt) -> None:
    shutil.rmtree(attempt.mine / ".git")


def by_nobody(attempt: Attempt) -> None:
    attempt.variables |= {**workflow.nobody(attempt.elsewhere), "EMAIL": ""}
    attempt.variables |= dict.fromkeys((f"GIT_{each}" for each in copies.WHO), "")


def of_a_fork(attempt: Attempt) -> None:
    """With an organisation's settings among the copied files, and our own address."""
    (attempt.mine / "organisation.yml").write_text("name: Acme\n", "utf-8")
    helpers.git(attempt.mine, "add", "--all")
    helpers.git(attempt.mine, "commit", "--quiet", "--amend", "--message", "Initial commit")
    attempt.template = SOURCE


def without_releases(attempt: Attempt) -> None:
    helpers.git(
        attempt.elsewhere, "clone", "--quiet", "--bare", "--no-tags", str(attempt.upstream), "t.git"
    )
    attempt.template = copies.address(attempt.elsewhere / "t.git")


def answering(pair: str) -> Callable[[Attempt], None]:
    return lambda attempt: attempt.arguments.extend(["--data", pair])


def from_template(address: str) -> Callable[[Attempt], None]:
    return lambda attempt: setattr(attempt, "template", address)


COPIERS_WORDS = "No git tags found in template; using HEAD as ref"


@pytest.mark.parametrize(
    ("prepare", "says"),
    [
        (with_changes, "not committed"),
        (with_history, "not a copy made with Use this template"),
        (shallow, "git fetch --unshallow"),
        (without_git, "no git repository of its own"),
        (by_nobody, "git does not know who you are"),
        (of_a_fork, "name the fork"),
        (without_releases, "has no release"),
        (answering("base_model=gpt 2"), "hub id"),
        (answering("task=chess"), "task=chess"),
        (from_template("../ml-template"), "is no address"),
        (
            from_template("https://ada:secret@example.org/t.git"),  # pragma: allowlist secret
            "which the project would store",
        ),
        (from_template("git+file:///nowhere/t.git"), "could not be had"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_bootstrap_says_why_not_and_changes_nothing(
    upstream: Path, origin: Path, tmp_path: Path, prepare: Callable[[Attempt], None], says: str
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    mine = clone(origin, tmp_path / NAME)
    attempt = Attempt(upstream, origin, elsewhere, mine, copies.address(upstream))
    prepare(attempt)
    mine = attempt.mine
    before = state(mine)
    arguments = ["--defaults", *attempt.arguments, "--template", attempt.template]
    done = bootstrap(mine, *arguments, **attempt.variables)
    assert (done.returncode, says in done.stderr) == (1, True), done.stdout + done.stderr
    *before_it, reason = done.stderr.splitlines()
    assert reason.startswith("error: ") and before_it in ([], [COPIERS_WORDS]), done.stderr
    assert (mine / "copier.yml").exists() and "secret" not in done.stderr
    assert state(mine) == before


def state(folder: Path) -> list[str]:
    """Return what bootstrap changes: the commit, the work trees and what is not committed."""
    if not (folder / ".git").exists():
        return []
    asked = [("rev-parse", "HEAD"), ("worktree", "list"), ("status", "--porcelain")]
    return [helpers.git(folder, *command) for command in asked]


@pytest.mark.parametrize(
    ("address", "taken"),
    [
        ("gh:org/ml-template", True),
        ("https://git.example.org/t.git", True),
        ("git@example.org:org/t.git", True),
        ("ssh://git@example.org/t.git", True),
        ("git+ssh://git@example.org:22/t.git", True),
        ("git+file:///srv/t@2/t.git", True),
        ("git+https://secret@example.org/t.git", False),
        ("git+https://secret:@example.org/t.git", False),
        ("git://secret@example.org/t.git", False),
        ("https://ada:1/secret@example.org/t.git", False),  # pragma: allowlist secret
        ("ssh://git:secret@example.org/t.git", False),  # pragma: allowlist secret
    ],
)
def test_an_address_with_a_token_is_not_taken_and_not_told(address: str, taken: bool) -> None:
    if taken:
        check_source(address)
        return
    with pytest.raises(RefusedError) as caught:
        check_source(address)
    assert "secret" not in str(caught.value)
