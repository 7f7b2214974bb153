"""What runs on a schedule: the commands of the workflows, without their network."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import newest
import pytest

import helpers
import workflow

pytestmark = pytest.mark.unit

CANARY = helpers.ROOT / ".github/workflows/canary.yml"


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


@pytest.mark.parametrize(
    ("known", "told"),
    [({}, []), ({"within": "| torch | 2.13.0 | 2.14.0 |"}, ["**newest-within**", "| torch |"])],
    ids=["stopped early", "known"],
)
def test_a_broken_canary_is_told_with_what_is_known(
    gh: Path, tmp_path: Path, known: dict[str, str], told: list[str]
) -> None:
    """Where it stops before the versions are known there is no file of them, and no folder."""
    (tmp_path / "tools").symlink_to(helpers.ROOT / "tools")
    make(tmp_path, {f"failed/newest-{name}/newest.md": text for name, text in known.items()})
    step = workflow.read(CANARY)["jobs"]["report"]["steps"][-1]
    variables = {**os.environ, "RUN": "https://git.example.org/run/1"}
    subprocess.run(["bash", "-e", "-c", step["run"]], cwd=tmp_path, env=variables, check=True)
    assert gh.read_text("utf-8").splitlines()[-1].endswith("--body-file body.md")
    body = (tmp_path / "body.md").read_text("utf-8")
    assert variables["RUN"] in body.splitlines()[0]
    assert [text for text in told if text not in body] == [] and ("**" in body) == bool(told)


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
