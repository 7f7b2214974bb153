"""A template of a few files, with this repository's own hooks around an update and its command.

What is tested with it is how an update begins, stops and ends, not what is rendered.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

import helpers

OURS = ("_answers_file", "_migrations", "_message_before_update", "_min_copier_version")
QUESTIONS = {
    "package_name": {"type": "str", "default": "router"},
    "ci": {"type": "str", "choices": ["github", "none"], "default": "github"},
}
FILES = {
    "src/{{package_name}}/__init__.py": "",
    "src/{{package_name}}/loop.py": "first = 1\nsecond = 2\nthird = 3\nfourth = 4\nfifth = 5\n",
    "src/{{package_name}}/old.py": "old = 1\n",
    "configs/serve.yaml": "limits:\n  max_inputs: 64\n  max_waiting_requests: 32 # requests\n",
    "requirements.txt": "numpy==1\n\n# For what you added\n",
    "notes.md": "# Notes\n",
}
MODULES = ("__init__", "answers", "commands", "steps")
SCRIPTS = ("update.py", *(f"machine/{name}.py" for name in MODULES))
OLD, NEW = "1.0.0", "1.1.0"
# What the new version has instead; None: no longer.
NEXT: dict[str, str | None] = {
    "src/{{package_name}}/loop.py": "first = 1\nsecond = 22\nthird = 3\nfourth = 4\nfifth = 5\n",
    "src/{{package_name}}/old.py": None,
    "src/{{package_name}}/new.py": "new = 1\n",
    "configs/serve.yaml": "limits:\n  max_inputs: 64\n\nengine:\n  max_waiting: 256 # inputs\n",
}


def make(folder: Path, changes: dict[str, str | None] = NEXT, **settings: object) -> Path:
    """Make a repository with an old and a new version; `settings` go into the new copier.yml."""
    helpers.copy_working_tree(folder / "whole")
    shutil.move(folder / "whole" / "hooks", folder / "hooks")
    template = folder / "template"
    for name in SCRIPTS:
        text = (folder / "whole/template/scripts" / name).read_text("utf-8")
        write(template / "scripts" / name, text)
    write(
        template / "{{_copier_conf.answers_file}}.jinja", "{{ _copier_answers | to_nice_yaml -}}\n"
    )
    shutil.rmtree(folder / "whole")
    real = yaml.safe_load((helpers.ROOT / "copier.yml").read_text("utf-8"))
    config = {key: real[key] for key in OURS} | {"_subdirectory": "template"} | QUESTIONS
    write(folder / "copier.yml", yaml.safe_dump(config, sort_keys=False))
    for name, text in FILES.items():
        write(template / name, text)
    helpers.commit_all(folder, "old", OLD)
    for name, new in changes.items():
        if new is None:
            (template / name).unlink()
        else:
            write(template / name, new)
    write(folder / "copier.yml", yaml.safe_dump(config | settings, sort_keys=False))
    helpers.commit_all(folder, "new", NEW)
    return folder


def project(folder: Path, template: Path) -> Path:
    """Make a project of the old version, committed."""
    copier(folder.parent, "copy", "--vcs-ref", OLD, str(template), str(folder))
    helpers.commit_all(folder, "made from the template")
    return folder


def copier(cwd: Path, operation: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Copier's command line without questions."""
    command = [sys.executable, "-m", "copier", operation, "--trust", "--defaults", *arguments]
    return run(command, cwd)


def update(cwd: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the project's own command, as `make update` does."""
    return run([sys.executable, "scripts/update.py", "--defaults", *arguments], cwd, **variables)


def run(command: list[str], cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run to the end, with Copier found and no set-up."""
    return subprocess.run(
        command, cwd=cwd, env=environment(**variables), capture_output=True, text=True, check=False
    )


def environment(**variables: str) -> dict[str, str]:
    """Return the variables with which an update runs here."""
    usual = {
        "ML_TEMPLATE_HOOKS": "off",
        "COPIER": f"{sys.executable} -m copier",
        "PYTHONDONTWRITEBYTECODE": "1",  # this template ignores no __pycache__
    }
    return {**os.environ, **usual, **variables}


def write(path: Path, text: str) -> None:
    """Write a file, and its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")


def state(folder: Path) -> tuple[str, str, dict[str, bytes]]:
    """Return all that an update may change: HEAD, what git calls changed, and every file."""
    status = helpers.git(folder, "status", "--porcelain")
    return helpers.git(folder, "rev-parse", "HEAD"), status, helpers.contents(folder)


BESIDE = ("staged\n", "and changed since\n")


def work_beside(whole: Path) -> str:
    """Leave work in a file outside the project, and return what git says of it."""
    write(whole / "README.md", BESIDE[0])
    helpers.git(whole, "add", "README.md")
    write(whole / "README.md", BESIDE[1])
    return "AM README.md"


class Quick:
    """Updates a project with a Copier and a git of our own; `log` has what git was asked."""

    def __init__(self, folder: Path, complete: Path) -> None:
        """Make both; `files` is what that Copier lays down."""
        self.log, self.files, self.folder = folder / "log", folder / "files", folder
        shutil.copytree(complete, self.files, ignore=shutil.ignore_patterns(".git"))
        (folder / "programs").mkdir()
        copier = f"find . -type f ! -path ./.git -delete\ncp -R '{self.files}/.' ."
        self.program("copier", copier)

    def program(self, name: str, text: str) -> None:
        """Write a shell script."""
        path = self.folder / "programs" / name
        path.write_text(f"#!/bin/sh\n{text}\n", "utf-8")
        path.chmod(0o755)

    def update(
        self, project: Path, faults: str = "", **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """Run the command in a process group of its own; `faults` are cases of git's arguments."""
        git = f'exec {shutil.which("git")} "$@"'
        ours = f'[ "$1" = --literal-pathspecs ] || {git}'  # what Copier asks git stays as it is
        log = f"echo \"$*\" >> '{self.log}'; calls=$(($(wc -l < '{self.log}')))"
        self.program("git", "\n".join([ours, log, f'case "$calls $*" in {faults} esac', git]))
        self.log.write_text("", "utf-8")
        (self.folder / "temporary").mkdir(exist_ok=True)
        places = {
            "PATH": f"{self.folder / 'programs'}{os.pathsep}{os.environ['PATH']}",
            "TMPDIR": str(self.folder / "temporary"),
            "COPIER": str(self.folder / "programs/copier"),
        }
        return subprocess.run(
            [sys.executable, "scripts/update.py", "--defaults"],
            cwd=project,
            env=environment(**{**places, **variables}),
            capture_output=True,
            text=True,
            check=False,
            start_new_session=True,
        )
