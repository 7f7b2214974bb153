"""`make release` in a clone: what it refuses, and what a release consists of."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import helpers
import releases
from machine_scripts import executable

pytestmark = pytest.mark.update

NEXT = releases.newest()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone with the working tree committed."""
    clone = releases.repository(tmp_path_factory.mktemp("whole") / "ml-template")
    helpers.git(clone, "tag", "--delete", *releases.released(), NEXT)
    helpers.git(clone, "config", "user.name", "Test")
    helpers.git(clone, "config", "user.email", "test@example.org")
    return clone


@pytest.fixture
def clone(whole: Path, tmp_path: Path) -> Path:
    helpers.git(tmp_path, "clone", "--quiet", str(whole), "clone")
    for key in ("user.name", "user.email"):
        helpers.git(tmp_path / "clone", "config", key, "test@example.org")
    return tmp_path / "clone"


def release(clone: Path, version: str = NEXT, check: str = "true") -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "tools/release.py", version, "--check", check],
        cwd=clone,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout + done.stderr


def entry(clone: Path, text: str) -> None:
    """Replace the unreleased entry, and commit."""
    path = clone / "CHANGELOG.md"
    before, _, rest = path.read_text("utf-8").partition("## Unreleased\n")
    after = rest.partition("\n## ")[2] if rest else ""
    path.write_text(f"{before}{text}\n## {after}", "utf-8")
    helpers.commit_all(clone, "changelog")


def test_a_release_is_a_heading_a_row_a_commit_and_a_tag(clone: Path) -> None:
    entry(clone, "## Unreleased\n\nBetter.\n\n**What you have to do:** nothing.\n")
    head = helpers.git(clone, "rev-parse", "HEAD").strip()
    code, said = release(clone)
    assert code == 0, said
    assert f"git push origin HEAD {NEXT}" in said
    assert helpers.git(clone, "tag", "--points-at", "HEAD").split() == [NEXT]
    assert helpers.git(clone, "rev-parse", "HEAD~1").strip() == head
    assert helpers.git(clone, "status", "--porcelain") == ""
    assert (clone / "tests/update/releases.csv").read_text().endswith(f"\n{NEXT},{head}\n")
    changelog = (clone / "CHANGELOG.md").read_text("utf-8")
    assert f"## {NEXT} (20" in changelog and "Unreleased" not in changelog
    code, said = release(clone)
    assert code == 1 and f"{NEXT} is not after {NEXT}, the last one" in said


def test_without_an_entry_one_is_drafted_from_the_commits(clone: Path) -> None:
    entry(clone, "")
    helpers.git(clone, "commit", "--allow-empty", "--message", "Make it better")
    code, said = release(clone)
    changelog = (clone / "CHANGELOG.md").read_text("utf-8")
    assert code == 1 and "a draft of the commits" in said and "- Make it better." in changelog
    assert "**What you have to do:** TODO" in changelog.split("## Unreleased")[1]
    helpers.commit_all(clone, "draft")
    code, said = release(clone)
    assert code == 1 and "does not say what users have to do" in said
    assert helpers.git(clone, "tag") == ""


@pytest.mark.parametrize(
    ("version", "sentence"),
    [
        ("new", "'new' is no PEP 440 version; write one such as 0.5.0"),
        ("0.5", "'0.5' is no version of three numbers"),
        ("v9.0.0", "'v9.0.0' is no version of three numbers"),
        ("9.0.0.dev1", "'9.0.0.dev1' is no version of three numbers"),
        ("9.0.0rc1", "'9.0.0rc1' is no version of three numbers"),
        ("9.0.0.post1", "'9.0.0.post1' is no version of three numbers"),
        ("0.0.1", "0.0.1 is not after"),
    ],
)
def test_a_wrong_version_is_refused(clone: Path, version: str, sentence: str) -> None:
    code, said = release(clone, version)
    assert code == 1 and sentence in said


def test_a_tree_with_changes_is_refused(clone: Path) -> None:
    (clone / "README.md").write_text("# Changed\n")
    code, said = release(clone)
    assert code == 1 and "changes that are not committed" in said


def test_failed_checks_are_no_release(clone: Path) -> None:
    entry(clone, "## Unreleased\n\nBetter.\n\n**What you have to do:** nothing.\n")
    code, said = release(clone, check="false")
    assert code == 1 and "the checks failed" in said
    assert helpers.git(clone, "tag") == "" and helpers.git(clone, "status", "--porcelain") == ""


@pytest.mark.parametrize("refused", ["commit", "tag"])
def test_where_git_refuses_nothing_stays(clone: Path, refused: str) -> None:
    entry(clone, "## Unreleased\n\nBetter.\n\n**What you have to do:** nothing.\n")
    head = helpers.git(clone, "rev-parse", "HEAD")
    if refused == "commit":
        executable(clone / ".git/hooks/pre-commit", "#!/bin/sh\necho not now >&2\nexit 1\n")
    else:
        helpers.git(clone, "config", "tag.gpgSign", "true")
        helpers.git(clone, "config", "gpg.program", "false")
    code, said = release(clone)
    assert code == 1 and f"error: git {refused}: " in said
    assert helpers.git(clone, "rev-parse", "HEAD") == head
    assert helpers.git(clone, "status", "--porcelain") == "" == helpers.git(clone, "tag")


def test_a_shallow_clone_cannot_check_and_so_not_release(clone: Path, tmp_path: Path) -> None:
    entry(clone, "## Unreleased\n\nBetter.\n\n**What you have to do:** nothing.\n")
    shallow = tmp_path / "shallow"
    helpers.git(tmp_path, "clone", "--quiet", "--depth=1", clone.as_uri(), str(shallow))
    check = f"{sys.executable} -m pytest -q -p no:cacheprovider tests/update/test_migrations.py"
    code, said = release(shallow, check=check)
    assert code == 1 and "the checks failed" in said
    assert "is not in this checkout" in said and "git fetch --unshallow" in said
    assert helpers.git(shallow, "tag") == "" == helpers.git(shallow, "status", "--porcelain")
