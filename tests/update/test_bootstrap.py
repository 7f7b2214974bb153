"""A repository made with "Use this template" becomes a project: by the workflow, and by hand."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

import helpers
import workflow

pytestmark = pytest.mark.update

OLD, NEW = "1.0.0", "1.1.0"
NAME = "ticket-router"
WORKFLOW = helpers.ROOT / ".github/workflows/bootstrap.yml"
# What GitHub does with a push by a workflow's own token.
GUARD = """#!/bin/sh
changed=$(git diff --name-only --diff-filter=AM "$2" "$3" -- .github/workflows)
[ -z "$changed" ] && exit 0
echo "refusing to allow a GitHub App to create or update workflow without workflows permission" >&2
exit 1
"""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The template where it is released, in two versions."""
    source = tmp_path_factory.mktemp("whole") / "source"
    helpers.copy_working_tree(source)
    return release(source)


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with its questions and what makes a project, but few files: for speed."""
    ci = ".github/workflows/ci.yml"
    files = {
        "README.md.jinja": "# {{ project_name }}\n",
        "AGENTS.md": "For agents.\n",
        f"{{{{ci_github}}}}/{ci}": (helpers.ROOT / ci).read_text("utf-8"),
    }
    source = helpers.miniature(tmp_path_factory.mktemp("upstream") / "source", files)
    for name in ("tools", ".github"):
        shutil.copytree(helpers.snapshot() / name, source / name)
    for name in ("bootstrap", "requirements-dev.txt", "README.md"):
        shutil.copy2(helpers.snapshot() / name, source / name)
    return release(source)


def release(source: Path) -> Path:
    """Tag two versions, the newer with one more line, and return what users clone from."""
    helpers.commit_all(source, "old", OLD)
    readme = source / "template/README.md.jinja"
    readme.write_text(readme.read_text("utf-8") + "\nA line of the new version.\n", "utf-8")
    helpers.commit_all(source, "new", NEW)
    helpers.git(source.parent, "clone", "--quiet", "--bare", "source", "ml-template.git")
    return source.parent / "ml-template.git"


def address(upstream: Path) -> str:
    return f"git+file://{upstream}"


@pytest.fixture
def origin(upstream: Path, tmp_path: Path) -> Path:
    return button(upstream, tmp_path / f"{NAME}.git")


def button(
    upstream: Path, origin: Path, version: str = NEW, edit: tuple[str, str] = ("", "")
) -> Path:
    """Do what GitHub's button does: the files, without their history, in one commit."""
    folder = origin.with_suffix(".made")
    helpers.git(
        upstream.parent, "clone", "--quiet", "--branch", version, str(upstream), str(folder)
    )
    shutil.rmtree(folder / ".git")
    if edit[0]:
        (folder / edit[0]).write_text(edit[1], "utf-8")
    helpers.commit_all(folder, "Initial commit")
    helpers.git(folder.parent, "clone", "--quiet", "--bare", str(folder), str(origin))
    (origin / "hooks").mkdir(exist_ok=True)
    forbid(origin, GUARD)
    return origin


def forbid(origin: Path, script: str) -> None:
    (origin / "hooks/update").write_text(script, "utf-8")
    (origin / "hooks/update").chmod(0o755)


def press(
    upstream: Path, origin: Path, folder: Path, name: str = "workflow_dispatch", **inputs: str
) -> workflow.Run:
    """Fill in the form and press Run workflow."""
    form = workflow.read(WORKFLOW)["on"]["workflow_dispatch"]["inputs"]
    assert set(inputs) <= set(form)
    first = {key: spec["options"][0] for key, spec in form.items() if "options" in spec}
    given = {**first, **inputs} if name == "workflow_dispatch" else {}
    variables = {"ML_TEMPLATE_SOURCE": address(upstream), "ML_TEMPLATE_ON_PUSH": "true"}
    folder.mkdir(exist_ok=True)
    return workflow.run(WORKFLOW, workflow.Event(name, given, variables), origin, folder)


def clone(origin: Path, folder: Path) -> Path:
    helpers.git(origin.parent, "clone", "--quiet", str(origin), str(folder))
    return folder


def answers(project: Path) -> dict[str, Any]:
    stored = yaml.safe_load((project / ".copier-answers.yml").read_text("utf-8"))
    assert isinstance(stored, dict)
    return stored


def head(origin: Path) -> str:
    return helpers.git(origin, "rev-parse", "main").strip()


def test_the_form_makes_a_project_that_can_be_updated(whole: Path, tmp_path: Path) -> None:
    upstream, origin = whole, button(whole, tmp_path / f"{NAME}.git")
    before = head(origin)
    done = press(
        upstream, origin, tmp_path / "run", task="llm", gpu="L4", license="MIT", version=OLD
    )
    assert done.conclusion == "success", done.log
    project = clone(origin, tmp_path / "project")
    stored = answers(project)
    assert (stored["_commit"], stored["_src_path"]) == (OLD, address(upstream))
    # the form's answers, and what follows from the repository's name and its owner
    assert [stored[key] for key in ("task", "gpu", "license")] == ["llm", "L4", "MIT"]
    assert stored["project_name"] == "Ticket router" and stored["package_name"] == "ticket_router"
    assert stored["author_name"] == "ada-lovelace"
    # nothing but the project, in one commit on top of the button's
    given = {key: value for key, value in stored.items() if not key.startswith("_")}
    fresh = helpers.copy_project(
        tmp_path / "fresh", template=upstream.with_name("source"), ref=OLD, **given
    )
    assert contents(project) == contents(fresh)
    assert helpers.git(project, "rev-list", "HEAD").split()[1:] == [before]
    subject = helpers.git(project, "log", "-1", "--format=%s by %an").strip()
    assert subject == f"made from ml-template {OLD} by ada-lovelace"

    helpers.update_project(project)
    assert answers(project)["_commit"] == NEW
    assert "A line of the new version." in helpers.git(project, "diff", "HEAD")
    assert workflow.TOKEN not in done.log + done.summary
    assert "make setup doctor smoke" in done.summary and f"/{NAME}\n" in done.summary


def test_a_second_run_does_nothing(upstream: Path, origin: Path, tmp_path: Path) -> None:
    first = press(upstream, origin, tmp_path / "first", name="push")
    made = head(origin)
    assert (first.conclusion, answers(clone(origin, tmp_path / "p"))["_commit"]) == ("success", NEW)
    second = press(upstream, origin, tmp_path / "second", task="llm")
    assert (second.conclusion, second.ran, head(origin)) == ("success", [], made)


def test_what_was_added_before_stays_and_decides(
    upstream: Path, origin: Path, tmp_path: Path
) -> None:
    mine = clone(origin, tmp_path / "mine")
    rows = "".join(f"this is ticket {n},{'ab'[n % 2]}\n" for n in range(40))
    (mine / "tickets.csv").write_text(f"text,label\n{rows}", "utf-8")
    (mine / "README.md").write_text("my words, in the template's file\n", "utf-8")
    (mine / "AGENTS.md").write_text("mine, and the project would bring one too\n", "utf-8")
    helpers.commit_all(mine, "data")
    helpers.git(mine, "push", "--quiet")
    assert press(upstream, origin, tmp_path / "run").conclusion == "success"
    project = clone(origin, tmp_path / "project")
    assert (project / "tickets.csv").read_text("utf-8").endswith(rows)
    stored = answers(project)
    assert (stored["task"], stored["data_file"]) == ("text_classification", "tickets.csv")
    assert "# Ticket router" in (project / "README.md").read_text("utf-8")
    assert (project / "AGENTS.md").read_text("utf-8").startswith("mine")


def test_a_copy_of_a_later_commit_keeps_its_workflow(upstream: Path, tmp_path: Path) -> None:
    """The button copies the newest commit, the project is the newest version: ci.yml may differ."""
    ci = ".github/workflows/ci.yml"
    later = (helpers.ROOT / ci).read_text("utf-8") + "# later\n"
    origin = button(upstream, tmp_path / f"{NAME}.git", NEW, (ci, later))
    done = press(upstream, origin, tmp_path / "run")
    assert done.conclusion == "success", done.log
    assert f"{ci} stays as it is" in done.summary
    assert (clone(origin, tmp_path / "project") / ci).read_text("utf-8") == later


HOSTILE = {
    "project_name": ["$(touch CANARY)", 'a"; touch CANARY; "', "x\n::warning::said\ntouch CANARY"],
    "base_model": ["'`touch CANARY`'", "{{ 'touch CANARY' }}"],
    "license": ["MIT$(touch CANARY)"],
    "version": ["--upload-pack=touch CANARY"],
}


@pytest.mark.parametrize(
    ("key", "text"), [(key, text) for key, texts in HOSTILE.items() for text in texts]
)
def test_what_is_typed_is_never_run(
    upstream: Path, origin: Path, tmp_path: Path, key: str, text: str
) -> None:
    before = head(origin)
    done = press(upstream, origin, tmp_path / "run", **{key: text})
    assert list(tmp_path.rglob("CANARY")) == []
    assert (done.conclusion, head(origin)) == ("failure", before)
    assert "No project was made" in done.summary and "Traceback" not in done.log
    # a command to the runner only outside of what it was told to pass over
    assert "\n::warning" not in re.sub(
        r"::stop-commands::(\w+)\n.*?::\1::", "", done.log, flags=re.S
    )


def test_without_rights_the_page_says_what_does_the_same(
    upstream: Path, origin: Path, tmp_path: Path
) -> None:
    forbid(origin, "#!/bin/sh\necho 'protected branch' >&2\nexit 1\n")
    before = head(origin)
    name = "It's a; 2"
    done = press(upstream, origin, tmp_path / "run", task="llm", project_name=name)
    assert (done.conclusion, head(origin)) == ("failure", before)
    assert "protected branch" in done.summary and workflow.TOKEN not in done.log + done.summary
    command = re.search(r"^(\./bootstrap .*)$", done.summary, re.MULTILINE)
    assert command and "git push" in done.summary

    forbid(origin, GUARD)
    mine = clone(origin, tmp_path / NAME)
    said = bootstrap(mine, *shlex.split(command[1])[1:])
    assert said.returncode == 0, said.stderr
    helpers.git(mine, "push", "--quiet")
    stored = answers(clone(origin, tmp_path / "project"))
    assert (stored["task"], stored["project_name"]) == ("llm", name)


@pytest.mark.parametrize(
    ("event", "runs"),
    [
        (workflow.Event(), True),
        (workflow.Event(repository={"is_template": True}), False),
        (workflow.Event(repository={"fork": True}), False),
        (workflow.Event(repository={"default_branch": "trunk"}), False),
        (workflow.Event("push"), False),
        (workflow.Event("push", variables={"ML_TEMPLATE_ON_PUSH": "true"}), True),
    ],
)
def test_the_job_runs_in_a_new_repository_only(event: workflow.Event, runs: bool) -> None:
    job = workflow.read(WORKFLOW)["jobs"]["bootstrap"]
    assert bool(workflow.evaluate(job["if"], event.context())) == runs


# ── By hand ──

WHO = ("AUTHOR_NAME", "AUTHOR_EMAIL", "COMMITTER_NAME", "COMMITTER_EMAIL")


def bootstrap(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run ./bootstrap as a user whose git has a name."""
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    names = dict.fromkeys((f"GIT_{each}" for each in WHO), "ada@example.org")
    return subprocess.run(
        ["./bootstrap", *arguments],
        cwd=folder,
        env={**os.environ, "PATH": programs, **names, **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


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
    arguments = ["--defaults", "--data", "task=llm", "--template", address(upstream)]
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
    done = bootstrap(mine, "--defaults", "--template", address(upstream))
    assert (done.returncode, "a project already" in done.stdout) == (0, True)
    assert helpers.git(mine, "rev-parse", "HEAD") == before


@pytest.mark.parametrize(
    ("state", "says"),
    [
        ("changes", "not committed"),
        ("history", "not a copy made with Use this template"),
        ("shallow", "git fetch --unshallow"),
        ("no repository", "no git repository of its own"),
        ("nobody", "git does not know who you are"),
        ("wrong answer", "did you mean"),
        ("wrong task", "task=chess"),
        ("untagged", "has no release"),
        ("relative", "is no address"),
        ("token", "which the project would store"),
        ("elsewhere", "could not be had"),
    ],
)
def test_bootstrap_says_why_not_and_changes_nothing(
    upstream: Path, origin: Path, tmp_path: Path, state: str, says: str
) -> None:
    mine = clone(origin, tmp_path / NAME)
    arguments = ["--defaults"]
    template = address(upstream)
    variables: dict[str, str] = {}
    if state == "changes":
        (mine / "notes.txt").write_text("mine", "utf-8")
    elif state == "history":
        mine = clone(upstream, tmp_path / "history")
        helpers.git(mine, "rm", "--quiet", "copier.yml")
        helpers.git(mine, "checkout", "--quiet", "--orphan", "first")
        helpers.commit_all(mine, "a first commit without all files")
        helpers.git(mine, "checkout", "--quiet", OLD, "--", "copier.yml")
        helpers.commit_all(mine, "more")
    elif state == "shallow":
        helpers.git(mine, "commit", "--quiet", "--allow-empty", "--message", "more")
        helpers.git(mine, "push", "--quiet")
        mine = tmp_path / "shallow"
        helpers.git(tmp_path, "clone", "--quiet", "--depth=1", f"file://{origin}", str(mine))
    elif state == "no repository":
        shutil.rmtree(mine / ".git")
    elif state == "nobody":
        variables = {**workflow.nobody(tmp_path), "EMAIL": ""}
        variables |= dict.fromkeys((f"GIT_{each}" for each in WHO), "")
    elif state == "wrong answer":
        arguments += ["--data", "base_model=gpt 2"]
        says = "hub id"
    elif state == "wrong task":
        arguments += ["--data", "task=chess"]
    elif state == "untagged":
        template = f"git+file://{untagged(upstream, tmp_path)}"
    elif state == "relative":
        template = "../ml-template"
    elif state == "token":
        template = "https://ada:secret@example.org/ml-template.git"  # pragma: allowlist secret
    elif state == "elsewhere":
        template = f"git+file://{tmp_path}/nowhere.git"
    before = helpers.git(mine, "log", "-1", "--format=%H") if (mine / ".git").exists() else ""
    done = bootstrap(mine, *arguments, "--template", template, **variables)
    assert (done.returncode, says in done.stderr) == (1, True), done.stdout + done.stderr
    *before_it, reason = done.stderr.splitlines()
    assert reason.startswith("error: ") and before_it in ([], [COPIERS_WORDS]), done.stderr
    assert (mine / "copier.yml").exists() and "secret" not in done.stderr
    if before:
        assert helpers.git(mine, "log", "-1", "--format=%H") == before
        assert len(helpers.git(mine, "worktree", "list").splitlines()) == 1
        changed = helpers.git(mine, "status", "--porcelain")
        assert changed == ("?? notes.txt\n" if state == "changes" else "")


COPIERS_WORDS = "No git tags found in template; using HEAD as ref"


def untagged(upstream: Path, folder: Path) -> Path:
    helpers.git(folder, "clone", "--quiet", "--bare", "--no-tags", str(upstream), "untagged.git")
    return folder / "untagged.git"


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
        and ".git" not in path.relative_to(folder).parts
        and path.name != ".copier-answers.yml"  # names the template's address
    }
