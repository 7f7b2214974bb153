"""Make, and update, projects in tests: one flat function each."""

from __future__ import annotations

import difflib
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import copier
import plumbum
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
OF_AN_ORGANISATION = ("organisation.yml", "template/{{organisation}}/")
# Given unless a test says otherwise, so that it does not depend on the folder or the machine.
ANSWERS = {
    "project_name": "Ticket router",
    "author_name": "Ada Lovelace",
    "author_email": "ada@example.org",
    "gpu": "none",
}


def copy_project(
    dst: Path,
    *,
    hooks: str = "off",
    template: Path | None = None,
    ref: str | None = None,
    **answers: Any,
) -> Path:
    """Generate a project with these answers and the defaults, and return its folder.

    None leaves a question to its computed default. `hooks` is ML_TEMPLATE_HOOKS.
    Copier ignores unknown answers, so a test with a misspelt question would check nothing:
    here it fails.
    """
    template = template or snapshot()
    reject_unknown(template, answers)
    with hook_environment(hooks):
        copier.run_copy(
            str(template),
            dst,
            data={key: value for key, value in {**ANSWERS, **answers}.items() if value is not None},
            vcs_ref=ref,
            defaults=True,
            unsafe=True,
            quiet=True,
        )
    return dst


def update_project(
    project: Path, *, hooks: str = "off", ref: str | None = None, **answers: Any
) -> Path:
    """Run `copier update --defaults` in a project whose files are committed, and return it."""
    with hook_environment(hooks):
        copier.run_update(
            project,
            data=answers,
            vcs_ref=ref,
            defaults=True,
            unsafe=True,
            overwrite=True,
            quiet=True,
        )
    return project


def reject_unknown(template: Path, answers: dict[str, Any]) -> None:
    """Fail for an answer to no question."""
    known = questions(template)
    for key in answers:
        if key not in known:
            close = difflib.get_close_matches(key, known, n=1) or sorted(known)
            raise KeyError(f"{key} is no question; did you mean {' or '.join(close)}?")


@cache
def questions(template: Path = ROOT) -> dict[str, dict[str, Any]]:
    """Return the questions of copier.yml with their definitions."""
    config = yaml.safe_load((template / "copier.yml").read_text("utf-8"))
    found = {key: spec for key, spec in config.items() if not key.startswith("_")}
    for key, spec in found.items():
        spec["choices"] = config.get(f"_{key}_choices", spec.get("choices"))
        if spec["choices"] is None:
            del spec["choices"]
    return found


def offered(key: str) -> list[Any]:
    """Return the values that a question of copier.yml offers."""
    choices = questions()[key].get("choices") or {}
    values = choices.values() if isinstance(choices, dict) else choices
    return [value["value"] if isinstance(value, dict) else value for value in values]


@cache
def snapshot() -> Path:
    """Return a copy of the working tree without git, which Copier reads as it stands.

    From a git repository Copier would take the latest tag, or clone once a copy.
    """
    folder = Path(tempfile.mkdtemp(prefix="ml-template-")) / "ml-template"
    copy_working_tree(folder)
    return folder


def copy_working_tree(folder: Path) -> None:
    """Copy all files that git tracks or would track, but for what an organisation added to them.

    So in a fork too these tests show what the template does by itself.
    """
    listed = git(ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    for name in filter(None, listed.split("\0")):
        source, target = ROOT / name, folder / name
        if source.is_file() and not name.startswith(OF_AN_ORGANISATION):
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)


def template_repository(folder: Path, tag: str = "1.0.0") -> Path:
    """Make a git repository of the working tree with one tagged commit."""
    copy_working_tree(folder)
    git(folder, "init", "--quiet", "--initial-branch=main")
    commit_all(folder, tag, tag)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file outside .git."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and ".git" not in path.relative_to(folder).parts
    }


def commit_all(repository: Path, message: str, tag: str | None = None) -> None:
    """Commit every change, and tag it."""
    if not (repository / ".git").exists():
        git(repository, "init", "--quiet", "--initial-branch=main")
    git(repository, "add", "--all")
    git(repository, "commit", "--quiet", "--allow-empty", "--message", message)
    if tag:
        git(repository, "tag", tag)


def git(folder: Path, *arguments: str) -> str:
    """Run git in a folder, independent of the user's configuration, and return its output."""
    person = ["-c", "user.name=Test", "-c", "user.email=test@example.org"]
    command = ["git", *person, "-c", "commit.gpgsign=false", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} in {folder}: {done.stderr}")
    return done.stdout


@contextmanager
def hook_environment(hooks: str) -> Iterator[None]:
    """Set ML_TEMPLATE_HOOKS for a while, for this process and for Copier's tasks.

    Copier gives its tasks the environment that plumbum read when it was imported.
    """
    with pytest.MonkeyPatch.context() as patch, plumbum.local.env(ML_TEMPLATE_HOOKS=hooks):
        patch.setenv("ML_TEMPLATE_HOOKS", hooks)
        yield


def miniature(folder: Path, files: dict[str, str]) -> Path:
    """Make a template with the real questions and extensions, but only these files to render."""
    folder.mkdir(parents=True)
    package = Path("template", "src", "{{package_name}}")
    for name in ("extensions", "locks", package / "estimate"):
        shutil.copytree(snapshot() / name, folder / name)
    shutil.copy2(snapshot() / "copier.yml", folder / "copier.yml")
    for hook in ("post_generate", "pre_update", "post_update"):
        path = folder / "hooks" / f"{hook}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text("", "utf-8")
    answers_file = "{{_copier_conf.answers_file}}.jinja"
    shutil.copy2(snapshot() / "template" / answers_file, folder / "template" / answers_file)
    for name, text in files.items():
        path = folder / "template" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    return folder
