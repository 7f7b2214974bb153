"""`make update`: what it refuses, that it is all or nothing, and what it says of conflicts."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import yaml

import helpers
import small_template as small

pytestmark = pytest.mark.update


def test_it_brings_the_new_version_and_keeps_edits(project: Path) -> None:
    with (project / "src/router/loop.py").open("a") as loop:
        loop.write("ours = 6\n")
    helpers.commit_all(project, "ours")
    done = small.update(project)
    assert done.returncode == 0, done.stderr
    _, status, files = small.state(project)
    assert files["src/router/loop.py"] == (
        b"first = 1\nsecond = 22\nthird = 3\nfourth = 4\nfifth = 5\nours = 6\n"
    )
    assert files["src/router/new.py"] == b"new = 1\n" and "src/router/old.py" not in files
    assert f"_commit: {small.NEW}" in files[".copier-answers.yml"].decode()
    # as Copier leaves it: nothing committed, nothing staged
    assert "?? src/router/new.py" in status and not re.search(r"(?m)^[MAD]", status)
    assert len(helpers.git(project, "worktree", "list").splitlines()) == 1
    helpers.commit_all(project, "updated")
    again = small.update(project)
    assert again.returncode == 0 and "newest version" in again.stdout


def test_a_conflict_is_named_and_git_knows_of_it(project: Path) -> None:
    small.write(project / "src/router/loop.py", small.FILES["src/{{package_name}}/loop.py"].replace(
        "second = 2", "second = 99"))  # fmt: skip
    helpers.commit_all(project, "ours")
    done = small.update(project)
    assert done.returncode == 0
    assert (
        "Both you and the template changed the same lines of:\n  src/router/loop.py" in done.stderr
    )
    stages = helpers.git(project, "ls-files", "--unmerged", "--format=%(stage)").split()
    assert stages == ["1", "2", "3"]
    text = (project / "src/router/loop.py").read_text()
    assert "second = 99" in text and "second = 22" in text
    assert list(project.rglob("*.rej")) == []
    again = small.update(project)
    assert again.returncode == 1
    assert "src/router/loop.py still holds conflicts: edit what stands between" in again.stderr


def test_a_conflict_is_of_the_same_lines_where_git_writes_those_of_windows(project: Path) -> None:
    name = "src/router/loop.py"
    helpers.git(project, "config", "core.autocrlf", "true")
    (project / name).unlink()
    helpers.git(project, "checkout", "--", name)
    before = (project / name).read_bytes()
    assert b"second = 2\r\n" in before
    (project / name).write_bytes(before.replace(b"second = 2", b"second = 99"))
    helpers.commit_all(project, "ours")
    done = small.update(project)
    assert done.returncode == 0, done.stderr
    marks = ("<<<<<<< before updating", "=======", ">>>>>>> after updating")
    expected = ("first = 1", marks[0], "second = 99", marks[1], "second = 22", marks[2])
    text = (project / name).read_bytes().decode()
    assert text == "\r\n".join([*expected, "third = 3", "fourth = 4", "fifth = 5", ""])


def test_a_removed_file_with_edits_is_named(project: Path) -> None:
    small.write(project / "src/router/old.py", "old = 1\nours = 2\n")
    helpers.commit_all(project, "ours")
    done = small.update(project)
    assert "you had changed them:\n  src/router/old.py\n" in done.stderr
    command = re.findall(r"Your version of one: (.*)", done.stderr)[0]
    assert small.run(command.split(), project).stdout == "old = 1\nours = 2\n"


def test_a_removed_file_without_edits_is_not_worth_a_word(project: Path) -> None:
    assert "had changed" not in small.update(project).stderr


def test_a_renamed_key_keeps_its_value(project: Path) -> None:
    path = project / "configs/serve.yaml"
    path.write_text(path.read_text().replace("32", "77"))
    helpers.commit_all(project, "ours")
    done = small.update(project)
    assert "called engine.max_waiting now" in done.stderr
    assert path.read_text() == (
        "limits:\n  max_inputs: 64\n\nengine:\n  max_waiting: 77 # inputs\n"
    )
    assert helpers.git(project, "ls-files", "--unmerged") == ""


def test_a_project_below_a_repositorys_root(made: Path, tmp_path: Path) -> None:
    whole, project = tmp_path / "whole", tmp_path / "whole/projects/router"
    shutil.copytree(made, project, ignore=shutil.ignore_patterns(".git"))
    helpers.commit_all(whole, "first")
    beside = small.work_beside(whole)
    done = small.update(project)
    assert done.returncode == 0, done.stderr
    assert (project / "src/router/new.py").is_file()
    changed = helpers.git(whole, "status", "--porcelain").splitlines()
    assert len(changed) > 1
    assert all(line == beside or line[3:].startswith("projects/router/") for line in changed)
    staged = helpers.git(whole, "show", ":README.md")
    assert (staged, (whole / "README.md").read_text()) == small.BESIDE


@pytest.fixture(scope="module")
def bundle(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = (
        tmp_path_factory.mktemp("a folder")
        / ("whose name is long and has blanks " * 3)
        / "t.bundle"
    )
    path.parent.mkdir()
    helpers.git(template, "bundle", "create", "--quiet", str(path), "--all")
    return path


def test_a_template_in_a_bundle_whose_path_takes_two_lines(project: Path, bundle: Path) -> None:
    line = yaml.safe_dump({"_src_path": str(bundle)}, indent=4)
    assert line.count("\n") > 1
    answers(project, "^_src_path: .*\n", line)
    done = small.update(project)
    assert done.returncode == 0, done.stderr
    assert (project / "src/router/new.py").is_file()


# ── What it refuses, in a sentence ──


def uncommitted(project: Path) -> None:
    small.write(project / "notes.md", "# Changed\n")


def untracked(project: Path) -> None:
    small.write(project / "mine.txt", "mine")


def no_commit(project: Path) -> None:
    shutil.rmtree(project / ".git")


def answers(project: Path, pattern: str, new: str) -> None:
    path = project / ".copier-answers.yml"
    text, count = re.subn(pattern, new, path.read_text(), flags=re.MULTILINE)
    assert count
    path.write_text(text)
    helpers.commit_all(project, "answers")


def no_answers(project: Path) -> None:
    (project / ".copier-answers.yml").unlink()
    helpers.commit_all(project, "gone")


def odd_name(project: Path) -> None:
    Path(os.fsdecode(os.fsencode(project) + b"/caf\xe9.txt")).touch()


def more_versions(project: Path) -> None:
    source = re.findall(r"(?m)^_src_path: (.*)", (project / ".copier-answers.yml").read_text())[0]
    helpers.git(project.parent, "clone", "--quiet", source, "more")
    for version in ("1.10.0", "1.9.0"):
        helpers.git(project.parent / "more", "tag", version)
    answers(project, "^_src_path: .*", f"_src_path: {project.parent / 'more'}")
    answers(project, "^_commit: .*", "_commit: 9.0.0")


def address_with_a_comment(project: Path) -> None:
    answers(project, "^_src_path: .*", "\"_src_path\": '/nowhere/t'  # ours")


def no_folder(project: Path) -> None:
    (project.parent / "empty").mkdir()
    answers(project, "^_src_path: .*", f"_src_path: {project.parent / 'empty'}")


REFUSED: dict[str, tuple[Callable[[Path], None], str]] = {
    "uncommitted": (uncommitted, "changes that are not committed (notes.md): commit them first"),
    "untracked": (untracked, "changes that are not committed (mine.txt): commit them first"),
    "odd name": (odd_name, "changes that are not committed (caf\\udce9.txt): commit them first"),
    "no commit": (no_commit, 'git init && git add -A && git commit -m "from the template"'),
    "no answers": (no_answers, "~1 -- .copier-answers.yml, commit, and run `make update` again"),
    "no address": (
        lambda project: answers(project, "^_src_path: .*\n", ""),
        "has no _src_path: write the template's address there",
    ),
    "relative": (
        lambda project: answers(project, "^_src_path: .*", "_src_path: ../ml-template"),
        "is relative to wherever this project was made: write its full path or its web address",
    ),
    "moved": (
        lambda project: answers(project, "^_src_path: .*", "_src_path: /nowhere/ml-template"),
        "no longer at /nowhere/ml-template: write its address behind _src_path:",
    ),
    "with a comment": (address_with_a_comment, "no longer at /nowhere/t: write its address behind"),
    **{
        wrong: (
            partial(answers, pattern="^ci: .*", new=wrong),
            ".copier-answers.yml, line 3, is no `name: value` as Copier writes it (a mark of a "
            "merge, a tag, an open quote?): mend it (git log -p -- .copier-answers.yml shows what",
        )
        for wrong in ("<<<<<<< HEAD", "ci: !!python/name:os.system", "ci: *other", "- github")
    },
    "not versioned": (no_folder, "is no git repository, so it has no versions"),
    "no answer": (
        lambda project: answers(
            project,
            "^_src_path: .*",
            "_src_path: file://me:hidden@/nowhere/t.git",  # pragma: allowlist secret
        ),
        "does not answer (git ls-remote: fatal: '/nowhere/t.git' does not appear to be a git "
        "repository): check the network and your right to read it, or, if it has moved, write its "
        "new address behind _src_path:",
    ),
    **{
        address: (
            partial(answers, pattern="^_src_path: .*", new=f"_src_path: {address}"),
            f"the template at {address} does not answer (git ls-remote: Permission denied)",
        )
        for address in ("ada@host:t.git", "work:org/t.git", "git+ssh://host/t")
    },
    "many versions": (
        more_versions,
        "the nearest of its versions (1.0.0, 1.1.0, 1.9.0, 1.10.0) behind _commit:",
    ),
    "never committed": (
        lambda project: answers(project, "^_commit: .*", "_commit: 1.0.0-1-g0123abc"),
        "holds no version 1.0.0-1-g0123abc, which this project was made from (perhaps from changes "
        "nobody committed): write the nearest of its versions (1.0.0, 1.1.0) behind _commit:",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_it_refuses_in_one_sentence_and_changes_nothing(project: Path, case: str) -> None:
    change, sentence = REFUSED[case]
    change(project)
    before = helpers.contents(project)
    done = small.update(project, GIT_SSH_COMMAND="echo Permission denied. >&2; false")
    assert done.returncode == 1 and sentence in done.stderr, done.stderr
    assert "Traceback" not in done.stderr and "hidden" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 2
    assert helpers.contents(project) == before


def test_a_project_of_another_user_is_refused_with_gits_words(project: Path) -> None:
    done = small.update(project, GIT_TEST_ASSUME_DIFFERENT_OWNER="1")
    assert done.returncode == 1 and "no commit yet" not in done.stderr
    assert "git config --global --add safe.directory" in done.stderr


def test_an_old_python_is_refused_in_a_sentence(project: Path) -> None:
    code = (
        "import runpy, sys; sys.version_info = (3, 9, 1, 'final', 0); sys.argv = ['update.py']; "
        "sys.path.insert(0, 'scripts'); runpy.run_path('scripts/update.py', run_name='__main__')"
    )
    done = small.run([sys.executable, "-c", code], project)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "needs Python 3.11 or newer" in done.stderr
    assert done.stderr.endswith("name another: make SYSTEM_PYTHON=python3.12 update\n")


def test_the_remedy_for_missing_answers_works(project: Path) -> None:
    no_answers(project)
    command = re.findall(r"(git checkout \S+ -- \S+),", small.update(project).stderr)[0]
    assert small.run(command.split(), project).returncode == 0
    helpers.commit_all(project, "back")
    assert small.update(project).returncode == 0


def test_a_copier_that_is_missing_is_named(project: Path, tmp_path: Path) -> None:
    (tmp_path / "programs").mkdir()
    git = shutil.which("git")
    assert git
    (tmp_path / "programs/git").symlink_to(git)
    done = small.update(project, COPIER="", PATH=str(tmp_path / "programs"))
    assert "neither uvx nor copier is on PATH: pip install uv" in done.stderr


def test_a_copier_that_cannot_be_run_is_named(project: Path) -> None:
    assert "no-copier cannot be run" in small.update(project, COPIER="no-copier --fast").stderr
    said = small.update(project, COPIER="'no-copier").stderr
    assert "a quote that is not closed" in said and "Traceback" not in said


def clones(project: Path, log: Path, **variables: str) -> Path:
    """Update with a Copier that leaves something behind; return where it made its clones."""
    kept = f'echo "$TMPDIR" >"{log}"; touch "$TMPDIR/left"; exec {sys.executable} -m copier "$@"'
    done = small.update(project, COPIER=shlex.join(["sh", "-c", kept, "copier"]), **variables)
    assert done.returncode == 0, done.stderr
    folder = Path(log.read_text().strip())
    assert not folder.exists()
    return folder


def test_clones_are_made_in_memory(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TMPDIR", raising=False)
    if not Path("/dev/shm").is_dir() or shutil.disk_usage("/dev/shm").free < 2**30:
        pytest.skip("there is no room in memory")
    assert clones(project, tmp_path / "log").is_relative_to("/dev/shm")


def test_clones_are_made_where_the_user_wants(project: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    assert clones(project, tmp_path / "log", TMPDIR=str(mine)).is_relative_to(mine)
    assert list(mine.iterdir()) == []


def test_another_answers_file_is_updated_by_copier_itself(project: Path) -> None:
    (project / ".copier-answers.yml").rename(project / "ours.yml")
    helpers.commit_all(project, "two templates")
    copier = [sys.executable, "-m", "copier", "update", "--trust", "--defaults", "-a", "ours.yml"]
    done = small.run(copier, project)
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    assert (project / "src/router/new.py").is_file()


def test_a_moved_package_is_refused_and_then_updated(project: Path) -> None:
    helpers.git(project, "mv", "src/router", "src/moved")
    helpers.commit_all(project, "another name")
    before = small.state(project)
    done = small.update(project)
    assert done.returncode == 1
    assert "write `package_name: moved` into .copier-answers.yml, commit" in done.stderr
    assert small.state(project) == before
    answers(project, "^package_name: .*", "package_name: moved")
    assert small.update(project).returncode == 0
    assert "second = 22" in (project / "src/moved/loop.py").read_text()
    assert not (project / "src/router").exists()


def test_marks_of_an_earlier_update_are_refused(project: Path) -> None:
    marks = "<<<<<<< before updating\na\n=======\nb\n>>>>>>> after updating\n"
    small.write(project / "notes.md", marks)
    helpers.commit_all(project, "not resolved")
    before = small.state(project)
    done = small.update(project)
    assert done.returncode == 1
    assert "notes.md still holds conflict marks of an earlier update" in done.stderr
    assert small.state(project) == before


def test_a_name_that_is_not_utf_8_is_refused(project: Path) -> None:
    odd_name(project)
    helpers.commit_all(project, "ours")
    before = small.state(project)
    done = small.update(project)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "The name of 'caf\\udce9.txt' is not UTF-8, and Copier stops at it" in done.stderr
    assert small.state(project) == before


def test_a_copier_that_is_too_old_says_so(tmp_path: Path) -> None:
    template = small.make(tmp_path / "template", _min_copier_version="99.0.0")
    project = small.project(tmp_path / "project", template)
    before = small.state(project)
    done = small.update(project)
    assert done.returncode == 1 and "requires Copier version >= 99.0.0" in done.stderr
    assert small.state(project) == before
