"""What runs on a schedule: the commands of the workflows, without their network."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import newest
import pytest
import yaml

import helpers

pytestmark = pytest.mark.unit

WORKFLOWS = sorted((helpers.ROOT / ".github" / "workflows").glob("*.yml"))
OURS = ("canary", "docs", "locks", "matrix")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("torch>=2.13,<3\n", "torch>=2.13\n"),
        ("wandb<1,>=0.20,!=0.21.0\n", "wandb!=0.21.0,>=0.20\n"),
        ("torch==2.13.0  # held back < 3\n", "torch  # held back < 3\n"),
        ("uvloop~=0.22 ; sys_platform != 'win32'\n", 'uvloop; sys_platform != "win32"\n'),
        ("# a comment, <3\n", "# a comment, <3\n"),
        ("-c locks/transformers.txt\n", "-c locks/transformers.txt\n"),
        ("\n", "\n"),
    ],
)
def test_upper_bounds_go_and_the_rest_stays(line: str, expected: str) -> None:
    assert newest.unbounded(line) == expected


def test_the_files_of_ranges_have_no_bound_left() -> None:
    for path in newest.ranges():
        left = [
            line
            for line in newest.unbounded(path.read_text("utf-8")).splitlines()
            if re.search(r"[<~]|==(?!.*')", re.sub(r"#.*|;.*", "", line))
        ]
        assert left == [], path.name


def test_changed_pins_are_told() -> None:
    told = newest.changes({"torch": "2.13.0", "gone": "1"}, {"torch": "2.14.0", "new": "2"})
    assert told.splitlines()[2:] == [
        "| gone | 1 |  |",
        "| new |  | 2 |",
        "| torch | 2.13.0 | 2.14.0 |",
    ]
    assert newest.changes({"a": "1"}, {"a": "1"}).startswith("No pin moved")
    assert newest.pins()["copier"] and newest.pins()["transformers"]


# ── Who may do what ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", OURS)
def test_a_job_that_may_write_runs_no_package(name: str) -> None:
    """Its steps are pinned actions and our own shell scripts: no pip, make, pytest or Python."""
    workflow = yaml.safe_load((WORKFLOWS[0].parent / f"{name}.yml").read_text("utf-8"))
    assert workflow["permissions"] == {"contents": "read"}
    for job in workflow["jobs"].values():
        assert job["timeout-minutes"] <= 90
        wanted = {key for key, value in job.get("permissions", {}).items() if value == "write"}
        commands = [step["run"] for step in job["steps"] if "run" in step]
        if wanted:
            assert not any(re.search(r"\b(make|python|pip|uv)\b", text) for text in commands), (
                wanted
            )
        for text in commands:
            assert "${{" not in text, "an expression in a shell line is filled in before quoting"
        for step in job["steps"]:
            if step.get("uses", "").startswith("actions/checkout@"):
                wants_token = "propose" in str(commands)
                assert step["with"]["persist-credentials"] is False or wants_token


@pytest.mark.parametrize("name", OURS)
def test_actions_are_pinned_by_commit_with_their_version(name: str) -> None:
    text = (WORKFLOWS[0].parent / f"{name}.yml").read_text("utf-8")
    used = re.findall(r"uses: (.+)", text)
    assert used
    for action in used:
        assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action), action


def test_one_action_has_one_version() -> None:
    pins: dict[str, set[str]] = {}
    for name in OURS:
        text = (WORKFLOWS[0].parent / f"{name}.yml").read_text("utf-8")
        for action, commit in re.findall(r"uses: ([\w./-]+)@([0-9a-f]+)", text):
            pins.setdefault(action, set()).add(commit)
    assert {action: len(commits) for action, commits in pins.items()} == dict.fromkeys(pins, 1)


def test_the_matrix_workflow_covers_every_part() -> None:
    workflow = yaml.safe_load((WORKFLOWS[0].parent / "matrix.yml").read_text("utf-8"))
    parts = workflow["jobs"]["render"]["strategy"]["matrix"]["part"]
    assert parts == [f"{part}/{len(parts)}" for part in range(1, len(parts) + 1)]


# ── The scripts that write, with a made-up gh ────────────────────────────────────────────────────

GH = """#!/bin/sh
printf '%s\\n' "$*" >>"$GH_LOG"
case "$1 $2" in
    "issue list") printf '%s' "$GH_ISSUES" ;;
    "pr list") printf '%s' "$GH_PULLS" ;;
esac
"""


@pytest.fixture
def gh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A `gh` that writes down how it was called; returns that file."""
    program = tmp_path / "programs" / "gh"
    program.parent.mkdir()
    program.write_text(GH, "utf-8")
    program.chmod(0o755)
    log = tmp_path / "gh.log"
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
    monkeypatch.setenv("GH_LOG", str(log))
    monkeypatch.setenv("GH_ISSUES", "")
    monkeypatch.setenv("GH_PULLS", "")
    return log


@pytest.mark.parametrize(
    ("issues", "last"),
    [
        ("", "issue create --title It broke --body-file body.md"),
        ("7 Something else\n9 It broke\n", "issue comment 9 --body-file body.md"),
        ("7 It broke again\n", "issue create --title It broke --body-file body.md"),
    ],
)
def test_a_failure_is_told_in_one_issue(
    gh: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, issues: str, last: str
) -> None:
    monkeypatch.setenv("GH_ISSUES", issues)
    script = helpers.ROOT / "tools" / "report_failure.sh"
    subprocess.run(["sh", script, "It broke", "body.md"], cwd=tmp_path, check=True)
    assert gh.read_text("utf-8").splitlines()[-1] == last


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone with a lock, of a repository that can be pushed to."""
    upstream = tmp_path / "upstream"
    helpers.commit_all(
        make(upstream, {"locks/transformers.txt": "a==1\n", "README.md": "x\n"}), "all"
    )
    helpers.git(tmp_path, "clone", "--quiet", str(upstream), "clone")
    return tmp_path / "clone"


def make(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    return folder


def proposal(clone: Path, files: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Make a patch of these files' changes and propose it."""
    make(clone, files)
    patch = clone.parent / "locks.patch"
    patch.write_text(helpers.git(clone, "diff", "--binary"), "utf-8")
    helpers.git(clone, "restore", ".")
    script = helpers.ROOT / "tools" / "propose_locks.sh"
    return subprocess.run(["sh", script, patch], cwd=clone, capture_output=True, text=True)


@pytest.mark.parametrize("pulls", ["", "12"])
def test_changed_locks_become_one_pull_request(
    gh: Path, clone: Path, monkeypatch: pytest.MonkeyPatch, pulls: str
) -> None:
    monkeypatch.setenv("GH_PULLS", pulls)
    done = proposal(clone, {"locks/transformers.txt": "a==2\n"})
    assert done.returncode == 0, done.stderr
    upstream = clone.parent / "upstream"
    assert helpers.git(upstream, "show", "locks/newest:locks/transformers.txt") == "a==2\n"
    assert helpers.git(upstream, "show", "main:locks/transformers.txt") == "a==1\n"
    created = "pr create --base main --head locks/newest" in gh.read_text("utf-8")
    assert created == (not pulls)


def test_a_patch_of_anything_else_is_refused(gh: Path, clone: Path) -> None:
    done = proposal(clone, {"locks/transformers.txt": "a==2\n", "README.md": "y\n"})
    assert done.returncode == 1
    assert done.stderr == "error: the patch changes more than pins: README.md\n"
    assert "locks/newest" not in helpers.git(clone.parent / "upstream", "branch")
