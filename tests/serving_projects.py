"""A project of each task with a model that was trained for a step, and its service running."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import helpers
from journey import get, port_in, wait_for
from projects import Installed

TASKS = ("text_classification", "image_classification", "audio_classification", "llm", "multimodal")
MODEL = "models/smoke/final"


@dataclass(frozen=True)
class Lent(Installed):
    """A project in an environment that was made for another one."""

    @property
    def environment(self) -> dict[str, str]:
        """Its own package is found before that of the environment's owner."""
        return {**super().environment, "PYTHONPATH": str(self.root / "src")}


@dataclass(frozen=True)
class Service:
    """A service that runs in a process of its own."""

    project: Installed
    url: str
    process: subprocess.Popen[bytes]
    log: Path
    """What it has printed."""

    def wait_until_ready(self) -> None:
        """Return once it says that it can predict."""
        wait_for(lambda: get(f"{self.url}/readyz") == 200, self.process)


def smoke_trained(folder: Path, task: str, environment: Path) -> Installed:
    """Make a project, use this environment in it, and train its smallest model for a step."""
    root = helpers.copy_project(
        folder, task=task, base_model="scratch", strategy="full", serving=["fastapi"]
    )
    (root / ".venv").symlink_to(environment)
    project = Lent(root, task)
    project.run(*project.script("train", "--config", "configs/smoke.yaml"))
    return project


@contextmanager
def serving(project: Installed, *arguments: str, **variables: str) -> Iterator[Service]:
    """Run the project's service; it listens already, but may not be ready yet."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "log")
        with log.open("wb") as output:
            process = subprocess.Popen(
                [project.python, "-m", "inference", "--model", MODEL, "--port", "0", *arguments],
                cwd=project.root,
                env={**project.environment, **variables},
                stdout=output,
                stderr=output,
            )
        try:
            port = wait_for(lambda: port_in(log), process)
            yield Service(project, f"http://127.0.0.1:{port}", process, log)
        finally:
            process.kill()
            process.wait()
