"""Projects as tests see them: rendered, to be read; installed, to be run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import plumbum
import yaml

import helpers


@dataclass(frozen=True)
class Rendered:
    """A project, the answers it was asked for, and all that it was made from."""

    root: Path
    given: dict[str, Any]

    @property
    def answers(self) -> dict[str, Any]:
        """Every stored answer."""
        stored = yaml.safe_load((self.root / ".copier-answers.yml").read_text("utf-8"))
        assert isinstance(stored, dict)
        return stored

    def files(self, *patterns: str) -> list[Path]:
        """Return the files which match one of the patterns, such as `*.py`."""
        found = {path for pattern in patterns or ("*",) for path in self.root.rglob(pattern)}
        return sorted(path for path in found if path.is_file())

    def names(self) -> set[str]:
        """Return every file's path in the project."""
        return {path.relative_to(self.root).as_posix() for path in self.files()}


@dataclass(frozen=True)
class Installed:
    """A generated project whose hooks have run."""

    root: Path
    task: str
    said: str = ""
    """What generating it printed, where that was kept."""

    @property
    def environment(self) -> dict[str, str]:
        """No network for models, one thread: two of these run beside each other on two cores."""
        return {**outside_make(), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}

    @property
    def python(self) -> str:
        """The project's own interpreter."""
        return str(self.root / ".venv/bin/python")

    def script(self, name: str, *arguments: str) -> list[str]:
        """Return the command that runs one of the project's scripts."""
        return [self.python, f"scripts/{name}.py", *arguments]

    def run(self, *command: str, code: int = 0, timeout_s: float = 600) -> str:
        """Run to the end, expect this exit code, and return what was printed on stdout."""
        done = subprocess.run(
            command,
            cwd=self.root,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout_s,
        )
        said = f"{' '.join(command)}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
        assert done.returncode == code, f"exit code {done.returncode}, not {code}: {said}"
        assert "Traceback" not in done.stderr, said
        return done.stdout

    def python_code(self, code: str, *arguments: str) -> str:
        """Run code in the project's environment, without the project's own modules."""
        return self.run(self.python, "-I", "-c", code, *arguments)

    def metrics(self, run: str) -> list[dict[str, Any]]:
        """Return the logged training steps of a run; none while there is no file."""
        path = self.root / run / "metrics.jsonl"
        lines = path.read_text("utf-8").splitlines() if path.is_file() else []
        return [row for row in map(json.loads, lines) if "loss" in row]


def generate(folder: Path, hooks: str = "all", **answers: Any) -> Installed:
    """Generate with hooks on, as strict as continuous integration is."""
    with plumbum.local.env(ML_TEMPLATE_STRICT="1", **tool_environment()):
        root = helpers.copy_project(folder, hooks=hooks, **answers)
    return Installed(root, answers["task"])


def outside_make() -> dict[str, str]:
    """Return this environment without what a `make test ARGS=…` around it passes on."""
    given = ("ARGS", "TESTS", "JOBS")
    return {
        key: value for key, value in os.environ.items() if "MAKE" not in key and key not in given
    }


def tool_environment() -> dict[str, str]:
    """Return the variables with which `make` runs our tools: the uv beside our Python is found."""
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {"OMP_NUM_THREADS": "1", "PATH": programs}


@dataclass(frozen=True)
class Journey:
    """A user's training command in a project."""

    project: Installed
    arguments: list[str]
    folder: Path
    """Where the user's data lies."""

    def command(self, output_dir: str, *more: str) -> list[str]:
        """Return the command that trains into this folder."""
        base = ["--config", "configs/train.yaml", "--train.output_dir", output_dir]
        return self.project.script("train", *base, *self.arguments, *more)
