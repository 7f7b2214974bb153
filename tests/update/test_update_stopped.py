"""`make update` stopped midway, and what it leaves alone: all or nothing."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import helpers
import small_template as small

pytestmark = pytest.mark.update

BROKEN: dict[str, str | None] = {**small.NEXT, "zz_last.md.jinja": "{{ nothing_like_this.at_all }}"}


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of a template whose new version cannot be rendered."""
    folder = tmp_path_factory.mktemp("broken")
    return small.project(folder / "project", small.make(folder / "template", BROKEN))


def test_a_template_that_cannot_be_rendered_changes_nothing(broken: Path, tmp_path: Path) -> None:
    project = Path(shutil.copytree(broken, tmp_path / "project"))
    before = small.state(project)
    done = small.update(project)
    assert done.returncode == 1 and "This project is as it was." in done.stderr
    assert small.state(project) == before
    assert len(helpers.git(project, "worktree", "list").splitlines()) == 1


@pytest.mark.parametrize("place", ["", "projects/router"], ids=["root", "below"])
def test_copier_alone_says_how_to_go_back_before_it_begins(
    place: str, broken: Path, tmp_path: Path
) -> None:
    project = Path(shutil.copytree(broken, tmp_path / "whole" / place))
    if place:  # of one repository with others
        shutil.rmtree(project / ".git")
        helpers.commit_all(tmp_path / "whole", "first")
        small.work_beside(tmp_path / "whole")
    before = small.state(tmp_path / "whole")
    done = small.copier(project, "update")
    assert done.returncode != 0
    assert small.state(tmp_path / "whole") != before, "Copier mends this itself now: say less"
    found = re.search(r"Should this stop halfway: (git restore .*?)   #", done.stderr)
    assert found
    assert subprocess.run(found[1], cwd=project, shell=True, capture_output=True).returncode == 0
    assert small.state(tmp_path / "whole") == before
    assert not place or helpers.git(tmp_path / "whole", "show", ":README.md") == small.BESIDE[0]


# ── With a Copier that lays down the files of the new version, which takes a moment ──

WRITES = "read-tree -m -u"


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGINT], ids=["kill", "ctrl-c"])
def test_stopped_at_any_call_of_git_it_is_the_old_project_or_the_new(
    quick: small.Quick, made: Path, complete: Path, tmp_path: Path, sent: signal.Signals
) -> None:
    old, new = small.state(made), small.state(complete)
    whole = Path(shutil.copytree(made, tmp_path / "whole"))
    assert quick.update(whole).returncode == 0 and small.state(whole) == new
    calls = quick.log.read_text("utf-8").splitlines()
    writes = 1 + next(n for n, call in enumerate(calls) if WRITES in call)
    assert 10 < writes < len(calls)
    # A signal to the group, as from a terminal. When killed, that call of git is not made.
    stop = f"kill -s {sent.name[3:]} -- -$PPID {'; exit 1' if sent == signal.SIGKILL else ''};;"
    for call in range(1, len(calls) + 1):
        project = Path(shutil.copytree(made, tmp_path / f"project-{call}"))
        done = quick.update(project, f"'{call} '*) {stop}")
        if sent == signal.SIGKILL:
            assert done.returncode == -sent
            assert small.state(project) == (old if call <= writes else new), calls[call - 1]
        elif call < writes:
            assert (done.returncode, small.state(project)) == (1, old), calls[call - 1]
            assert done.stderr == "error: interrupted.\n  This project is as it was.\n"
        else:
            assert (done.returncode, small.state(project)) == (0, new), calls[call - 1]
        if call == writes and sent == signal.SIGKILL:  # what was left behind is not in the way
            assert quick.update(project).returncode == 0 and small.state(project) == new


HALF = (
    "rm src/router/old.py; echo half > src/router/loop.py; echo new > src/router/new.py; "
    "echo fatal: No space left on device >&2; exit 128;;"
)


def test_a_disk_that_fills_while_the_files_are_written(project: Path, quick: small.Quick) -> None:
    before = small.state(project)
    done = quick.update(project, f"*{WRITES!r}*) {HALF}")
    assert done.returncode == 1 and small.state(project) == before
    assert done.stderr == (
        "error: the new files could not be written (git read-tree: fatal: No space left on device)."
        "\n  This project is as it was.\n"
    )


def test_files_that_cannot_be_taken_back_either(project: Path, quick: small.Quick) -> None:
    before = small.state(project)
    again = "*checkout-index*) echo fatal: Still no space >&2; exit 128;;"
    done = quick.update(project, f"*{WRITES!r}*) {HALF} {again}")
    assert done.returncode == 1 and small.state(project) != before
    assert "nor the old ones again (git checkout-index: fatal: Still no space)" in done.stderr
    found = re.search("Some files are the new ones. Back to your last commit: (.*)", done.stderr)
    assert found
    assert subprocess.run(found[1], cwd=project, shell=True, capture_output=True).returncode == 0
    assert small.state(project) == before


def test_git_that_cannot_be_told_of_a_conflict(project: Path, quick: small.Quick) -> None:
    small.write(project / "src/router/loop.py", "first = 1\nsecond = 99\nthird = 3\n")
    helpers.commit_all(project, "ours")
    locked = "*update-index*) echo fatal: Unable to create index.lock >&2; exit 128;;"
    done = quick.update(project, locked, COPIER=f"{sys.executable} -m copier")
    assert done.returncode == 1
    assert "git could not be told of the conflicts in src/router/loop.py (git up" in done.stderr
    assert "The new files are here: edit what stands between the marks" in done.stderr
    assert ">>>>>>> after updating" in (project / "src/router/loop.py").read_text()
    assert (project / "src/router/new.py").is_file()


def test_a_file_saved_during_the_update_stays_as_it_was_saved(
    project: Path, quick: small.Quick
) -> None:
    saved = "*write-tree*) echo saved > '" + str(project / "src/router/loop.py") + "';;"
    done = quick.update(project, saved)
    assert done.returncode == 1
    assert "src/router/loop.py changed here during the update: commit, and run" in done.stderr
    assert done.stderr.endswith("This project is as it was.\n")
    assert helpers.git(project, "status", "--porcelain") == " M src/router/loop.py\n"
    assert (project / "src/router/loop.py").read_text() == "saved\n"


def test_a_file_only_touched_during_the_update_stops_nothing(
    project: Path, quick: small.Quick
) -> None:
    touched = "*write-tree*) touch '" + str(project / "src/router/loop.py") + "';;"
    done = quick.update(project, touched)
    assert done.returncode == 0, done.stderr
    assert (project / "src/router/new.py").is_file()


# ── What git ignores ──


@pytest.mark.parametrize("name", ["new.py", "more", "link"])
def test_what_git_ignores_is_not_overwritten(project: Path, quick: small.Quick, name: str) -> None:
    small.write(project / ".gitignore", f"{name}\n")
    helpers.commit_all(project, "ours")
    mine = project / "src/router" / name
    if name == "link":
        mine.symlink_to(quick.folder)
    else:
        small.write(mine, "mine\n")
    if name != "new.py":
        small.write(quick.files / f"src/router/{name}/other.py", "")
    before = helpers.git(project, "status", "--porcelain", "--ignored")
    done = quick.update(project)
    assert done.returncode == 1 and f"needs the place of src/router/{name}, which" in done.stderr
    assert helpers.git(project, "status", "--porcelain", "--ignored") == before
    assert mine.is_symlink() if name == "link" else mine.read_text() == "mine\n"


def test_a_new_file_that_git_ignores_here_is_named(project: Path, quick: small.Quick) -> None:
    small.write(project / ".git/info/exclude", "new.py\n")
    done = quick.update(project)
    assert done.returncode == 0 and "ignores it here: src/router/new.py." in done.stderr
    assert not (project / "src/router/new.py").exists()


# ── What git is told not to look at ──


@pytest.mark.parametrize("told", ["--assume-unchanged", "--skip-worktree"])
def test_what_git_does_not_look_at_is_not_changed(
    project: Path, quick: small.Quick, told: str
) -> None:
    name = "src/router/loop.py"
    helpers.git(project, "update-index", told, "notes.md", name)
    small.write(project / name, "hidden\n")
    before = helpers.contents(project)
    done = quick.update(project)
    assert done.returncode == 1 and helpers.contents(project) == before
    assert f"changes {name}, and git is told not to look there: git update-index" in done.stderr


def test_a_sparse_checkout_takes_no_change_where_it_has_no_files(
    project: Path, quick: small.Quick
) -> None:
    sparse = ("sparse-checkout", "set", "--no-cone", "/*")
    helpers.git(project, "update-index", "--refresh")  # else what was copied counts as changed
    helpers.git(project, *sparse, "!/src/router/loop.py")
    assert not (project / "src/router/loop.py").exists()
    done = quick.update(project)
    assert done.returncode == 1 and "or, in a sparse checkout, git sparse-ch" in done.stderr
    helpers.git(project, *sparse, "!/notes.md", "!/src/router/new.py")
    assert quick.update(project, COPIER=f"{sys.executable} -m copier").returncode == 0
    assert "second = 22" in (project / "src/router/loop.py").read_text()
    assert (project / "src/router/new.py").is_file() and not (project / "notes.md").exists()
    status = helpers.git(project, "status", "--porcelain").splitlines()
    assert [line for line in status if "D" in line[:2]] == [" D src/router/old.py"]


# ── After it ──

SETUP = "import os, signal, sys\nprint('set-up ran', file=sys.stderr)\n"
INTERRUPTED = "os.kill(os.getppid(), signal.SIGINT)\nsys.exit(1)\n"


@pytest.mark.parametrize(
    ("stamp", "setup", "code", "says"),
    [
        (".ml-template-requirements", SETUP, 0, "set-up ran\n"),
        (".ml-template-requirements", SETUP + INTERRUPTED, 1, "only `.venv` is not: run make"),
        ("pyvenv.cfg", SETUP, 0, ""),  # an environment that make setup has not made
    ],
    ids=["installs", "interrupted", "not ours"],
)
def test_the_new_pins_are_installed_where_make_setup_had_installed(
    project: Path, quick: small.Quick, stamp: str, setup: str, code: int, says: str
) -> None:
    small.write(project / ".git/info/exclude", ".venv\n")
    small.write(project / ".venv" / stamp, "")
    small.write(quick.files / "scripts/setup_env.py", setup)
    done = quick.update(project, ML_TEMPLATE_HOOKS="")
    assert (done.returncode, done.stderr.count("set-up ran")) == (code, 1 if says else 0)
    assert says in done.stderr and "update.py" not in done.stderr
    assert ("then commit" in done.stdout) is (code == 0)
