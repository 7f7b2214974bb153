"""A repository made with "Use this template" becomes a project, by the workflow."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

import copies
import helpers
import workflow
from copies import CI, NAME, NEW, OLD, WORKFLOW, answers, button, clone, head, press

pytestmark = pytest.mark.update


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The template where it is released, in two versions."""
    source = tmp_path_factory.mktemp("whole") / "source"
    helpers.copy_working_tree(source)
    return copies.release(source)


def test_the_form_makes_a_project_that_can_be_updated(whole: Path, tmp_path: Path) -> None:
    upstream, origin = whole, button(whole, tmp_path / f"{NAME}.git")
    before = head(origin)
    done = press(
        upstream, origin, tmp_path / "run", task="llm", gpu="L4", license="MIT", version=OLD
    )
    assert done.conclusion == "success", done.log
    project = clone(origin, tmp_path / "project")
    stored = answers(project)
    assert (stored["_commit"], stored["_src_path"]) == (OLD, copies.address(upstream))
    # the form's answers, and what follows from the repository's name and its owner
    assert [stored[key] for key in ("task", "gpu", "license")] == ["llm", "L4", "MIT"]
    assert stored["project_name"] == "Ticket router" and stored["package_name"] == "ticket_router"
    assert stored["author_name"] == "ada-lovelace"
    # nothing but the project, in one commit on top of the button's
    given = {key: value for key, value in stored.items() if not key.startswith("_")}
    fresh = helpers.copy_project(
        tmp_path / "fresh", template=upstream.with_name("source"), ref=OLD, **given
    )
    there, expected = helpers.contents(project), helpers.contents(fresh)
    for files in (there, expected):
        del files[".copier-answers.yml"]  # names the template's address
    assert there == expected
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
    later = (helpers.ROOT / CI).read_text("utf-8") + "# later\n"
    origin = button(upstream, tmp_path / f"{NAME}.git", NEW, (CI, later))
    done = press(upstream, origin, tmp_path / "run")
    assert done.conclusion == "success", done.log
    assert f"{CI} stays as it is" in done.summary
    assert (clone(origin, tmp_path / "project") / CI).read_text("utf-8") == later


# What is rendered is code. This lies in wait for a push, and for the token that it is made with.
SPY = """
hook = Path.cwd() / ".git/hooks/pre-push"
if hook.parent.is_dir():
    hook.write_text("#!/bin/sh\\nenv >{seen}\\n")
    hook.chmod(0o755)
"""


def test_what_the_template_leaves_behind_does_not_see_the_token(
    upstream: Path, tmp_path: Path
) -> None:
    helpers.git(tmp_path, "clone", "--quiet", str(upstream), "source")
    context, seen = tmp_path / "source/extensions/context.py", tmp_path / "seen"
    context.write_text(context.read_text("utf-8") + SPY.format(seen=seen), "utf-8")
    helpers.commit_all(tmp_path / "source", "a spy", "1.2.0")
    origin = button(upstream, tmp_path / f"{NAME}.git")
    done = press(tmp_path / "source", origin, tmp_path / "run")
    assert done.conclusion == "success", done.log
    assert (tmp_path / "run/work/make" / NAME / ".git/hooks/pre-push").exists()
    assert not seen.exists()


def test_a_branch_that_moved_meanwhile_stays(
    upstream: Path, origin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use = workflow._use

    def push_first(step: dict[str, Any], *others: Path) -> None:
        if step["uses"].startswith("actions/upload-artifact@"):
            mine = clone(origin, tmp_path / "mine")
            helpers.commit_all(mine, "meanwhile")
            helpers.git(mine, "push", "--quiet")
        use(step, *others)

    monkeypatch.setattr(workflow, "_use", push_first)
    done = press(upstream, origin, tmp_path / "run")
    assert (done.conclusion, "someone pushed meanwhile" in done.summary) == ("failure", True)
    assert head(origin) == helpers.git(tmp_path / "mine", "rev-parse", "HEAD").strip()


# ── Copies of an organisation's fork ──


DEPLOY = ".github/workflows/deploy.yml"
IN_PROJECTS = f"template/{{{{organisation}}}}/{DEPLOY}"


def test_a_copy_of_a_fork_follows_the_organisation(upstream: Path, tmp_path: Path) -> None:
    # GitHub takes a workflow of theirs because the copy has it already
    fork = copies.fork(upstream, tmp_path, dict.fromkeys([DEPLOY, IN_PROJECTS], "name: deploy\n"))
    origin = button(fork, tmp_path / f"{NAME}.git", copies.OF_THE_FORK)
    before = head(origin)
    refused = press(None, origin, tmp_path / "without")
    assert (refused.conclusion, head(origin)) == ("failure", before)
    assert "ML_TEMPLATE_SOURCE" in refused.summary and "organisation.yml" in refused.summary

    done = press(fork, origin, tmp_path / "run", task="llm")
    assert done.conclusion == "success", done.log
    project = clone(origin, tmp_path / "project")
    stored = answers(project)
    assert (stored["_commit"], stored["task"]) == (copies.OF_THE_FORK, "llm")
    assert (stored["author_name"], stored["license"]) == ("Acme Research", "Acme-Internal")
    assert (project / "SUPPORT.md").is_file() and not (project / "organisation.yml").exists()
    assert (project / DEPLOY).read_text("utf-8") == "name: deploy\n"


def test_what_a_fork_fixes_can_be_left_open_in_the_form(upstream: Path, tmp_path: Path) -> None:
    fixed = {"author_name": "Acme", "gpu": "T4", "ci": "none"}
    fork = copies.fork(upstream, tmp_path, {}, **fixed)
    origin = button(fork, tmp_path / f"{NAME}.git", copies.OF_THE_FORK)
    done = press(fork, origin, tmp_path / "run")
    assert done.conclusion == "success", done.log
    project = clone(origin, tmp_path / "project")
    assert {key: answers(project)[key] for key in fixed} == fixed
    assert not (project / ".github").exists()


def test_a_workflow_that_the_copy_lacks_is_not_left_out(upstream: Path, tmp_path: Path) -> None:
    fork = copies.fork(upstream, tmp_path, {IN_PROJECTS: "name: deploy\n"})
    origin = button(fork, tmp_path / f"{NAME}.git", copies.OF_THE_FORK)
    before = head(origin)
    done = press(fork, origin, tmp_path / "run", task="llm")
    assert (done.conclusion, head(origin)) == ("failure", before)
    assert f"the template brings {DEPLOY}\n" in done.summary
    assert f"./bootstrap --defaults --template {copies.address(fork)} --data task=llm" in (
        done.summary
    )


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
    copies.forbid(origin, "#!/bin/sh\necho 'protected branch' >&2\nexit 1\n")
    before = head(origin)
    name = "It's a; 2"
    done = press(upstream, origin, tmp_path / "run", task="llm", project_name=name)
    assert (done.conclusion, head(origin)) == ("failure", before)
    assert "protected branch" in done.summary and workflow.TOKEN not in done.log + done.summary
    command = re.search(r"^(\./bootstrap .*)$", done.summary, re.MULTILINE)
    assert command and "git push" in done.summary

    copies.forbid(origin, copies.GUARD)
    mine = clone(origin, tmp_path / NAME)
    said = copies.bootstrap(mine, *shlex.split(command[1])[1:])
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
def test_the_jobs_run_in_a_new_repository_only(event: workflow.Event, runs: bool) -> None:
    make, push = workflow.read(WORKFLOW)["jobs"].values()
    assert bool(workflow.evaluate(make["if"], event.context())) == runs
    for made in ("", "0123456789"):
        needs = {"make": {"outputs": {"made": made}}}
        assert bool(workflow.evaluate(push["if"], {"needs": needs})) == bool(made)
