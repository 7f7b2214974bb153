"""An installed project for each test file with a CASE, and what is trained in it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import helpers
import user_data
from projects import Installed, Journey, generate, tool_environment


@pytest.fixture(scope="module")
def project(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """The case's project, every hook run; for `llm` the one of `make demo`."""
    folder = tmp_path_factory.mktemp("run")
    if request.module.CASE == "llm":
        return demo(folder)
    if request.module.CASE in ("lora", "qlora"):
        answers = {"task": "llm", "strategy": request.module.CASE, "base_model": "./base"}
        return generate(folder / "my project", **answers)
    answers = {"task": request.module.CASE, "strategy": "full"}
    if request.module.CASE in ("text_classification", "image_classification"):
        answers["serving"] = ["fastapi", "hf_endpoints", "onnx"]
    return generate(folder / "my project", **answers)


def demo(folder: Path) -> Installed:
    """Run what `make demo` runs, in a clone without tags and with an uncommitted file."""
    clone = folder / "ml-template"
    helpers.copy_working_tree(clone)
    helpers.commit_all(clone, "all")
    (clone / "template" / "uncommitted.txt").write_text("not yet committed\n", "utf-8")
    command = [sys.executable, "tools/demo.py", "demo"]
    environment = {**os.environ, **tool_environment()}
    done = subprocess.run(
        command,
        cwd=clone,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    return Installed(clone / "demo", "llm", done.stdout)


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One .venv with all that any project pins; those of the journeys have their own."""
    project = helpers.copy_project(tmp_path_factory.mktemp("all") / "project")
    shutil.copy2(helpers.ROOT / "locks" / "transformers.txt", project / "requirements.txt")
    subprocess.run(
        [sys.executable, "scripts/setup_env.py"],
        cwd=project,
        env={**os.environ, **tool_environment()},
        check=True,
        timeout=600,
    )
    return project / ".venv"


@pytest.fixture(scope="module")
def journey(project: Installed, tmp_path_factory: pytest.TempPathFactory) -> Journey:
    """A user's own file, and the training command for it."""
    folder = tmp_path_factory.mktemp("my data")
    sizes = ["--model.scratch.hidden_size", "64", "--model.scratch.num_layers", "2"]
    if project.task in ("llm", "text_classification", "multimodal"):
        sizes += ["--model.scratch.vocab_size", "512"]
    if project.task in ("llm", "text_classification"):
        sizes += ["--train.max_seq_len", "96"]
    arguments = [
        *user_data.CASES[project.task].prepare(project, folder),
        *sizes,
        "--train.max_steps", "60",
        "--train.micro_batch_size", "2",
        "--train.global_batch_size", "16",
        "--train.learning_rate", "5e-3",
        "--train.log_every", "1",
        "--train.save_every", "5",
        "--train.seed", "17",
    ]  # fmt: skip
    model = "scratch"
    if "lora:" in (project.root / "configs/train.yaml").read_text("utf-8"):
        model = user_data.tiny_base_model(project, folder / "base")
    return Journey(project, [*arguments, "--model.name_or_path", model], folder)


@pytest.fixture(scope="module")
def trained(journey: Journey) -> Journey:
    """The same, trained without interruption in models/straight."""
    journey.project.run(*journey.command("models/straight"))
    return journey


@pytest.fixture(scope="module")
def exported(trained: Journey) -> Path:
    """The exported model's folder."""
    project = trained.project
    folder = project.root / "models/straight/export"
    model = "models/straight/final"
    project.run(*project.script("export", "--model", model, "--output", str(folder)))
    return folder
