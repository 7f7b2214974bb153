"""Copies of the template as GitHub's button "Use this template" makes them, and its workflow."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

import forks
import helpers
import workflow

OLD, NEW = "1.0.0", "1.1.0"
OF_THE_FORK = "1.1.0+acme.1"
NAME = "ticket-router"
WORKFLOW = helpers.ROOT / ".github/workflows/bootstrap.yml"
CI = ".github/workflows/ci.yml"
# What GitHub does with a push by a workflow's own token.
GUARD = """#!/bin/sh
changed=$(git diff --name-only --no-renames --diff-filter=AM "$2" "$3" -- .github/workflows)
[ -z "$changed" ] && exit 0
echo "refusing to allow a GitHub App to create or update workflow without workflows permission" >&2
exit 1
"""


WHO = ("AUTHOR_NAME", "AUTHOR_EMAIL", "COMMITTER_NAME", "COMMITTER_EMAIL")


def small(folder: Path) -> Path:
    """Release the questions and what makes a project, with few files to render: for speed."""
    files = {
        "README.md.jinja": "# {{ project_name }}\n",
        "AGENTS.md": "For agents.\n",
        f"{{{{ci_github}}}}/{CI}": (helpers.ROOT / CI).read_text("utf-8"),
    }
    source = helpers.miniature(folder / "source", files)
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


def fork(upstream: Path, folder: Path, files: dict[str, str], **fixed: str) -> Path:
    """Release a fork with the example of docs/organisations.md, more files and fixed answers."""
    helpers.git(folder, "clone", "--quiet", "--no-tags", str(upstream), "acme")
    source = forks.add_to(folder / "acme")
    settings = forks.settings()
    settings["fixed"] |= {key: {"value": fixed[key], "reason": "so it is"} for key in fixed}
    files = {forks.SETTINGS: yaml.safe_dump(settings, allow_unicode=True), **files}
    for name, text in files.items():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(text, "utf-8")
    helpers.commit_all(source, "what Acme decides", OF_THE_FORK)
    helpers.git(folder, "clone", "--quiet", "--bare", str(source), "acme-template.git")
    return folder / "acme-template.git"


def address(upstream: Path) -> str:
    """Return what --template takes."""
    return f"git+file://{upstream}"


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
    """Have this script decide who may push."""
    (origin / "hooks/update").write_text(script, "utf-8")
    (origin / "hooks/update").chmod(0o755)


def press(
    upstream: Path | None,
    origin: Path,
    folder: Path,
    name: str = "workflow_dispatch",
    **inputs: str,
) -> workflow.Run:
    """Fill in the form and press Run workflow; without `upstream` ML_TEMPLATE_SOURCE is not set."""
    form = workflow.read(WORKFLOW)["on"]["workflow_dispatch"]["inputs"]
    assert set(inputs) <= set(form)
    first = {key: spec["options"][0] for key, spec in form.items() if "options" in spec}
    given = {**first, **inputs} if name == "workflow_dispatch" else {}
    variables = {"ML_TEMPLATE_ON_PUSH": "true"}
    if upstream:
        variables["ML_TEMPLATE_SOURCE"] = address(upstream)
    folder.mkdir(exist_ok=True)
    return workflow.run(WORKFLOW, workflow.Event(name, given, variables), origin, folder)


def clone(origin: Path, folder: Path) -> Path:
    """Return a clone, which may push."""
    helpers.git(origin.parent, "clone", "--quiet", str(origin), str(folder))
    return folder


def answers(project: Path) -> dict[str, Any]:
    """Return the answers that a project stores."""
    stored = yaml.safe_load((project / ".copier-answers.yml").read_text("utf-8"))
    assert isinstance(stored, dict)
    return stored


def head(origin: Path) -> str:
    """Return the newest commit."""
    return helpers.git(origin, "rev-parse", "main").strip()


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
