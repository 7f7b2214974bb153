"""Models and data that the template's authors never saw, in each task, whole and with adapters.

The journeys of the other files train what `scratch` makes, and language models with adapters.
Here are the other pairs of task and strategy, all in one environment.
"""

from __future__ import annotations

import json
import os
import random
import signal
import time
from pathlib import Path

import pytest
import yaml

import helpers
import user_data
from foreign_models import foreign_model
from journey import numbers, stop_after, weights, without_scores
from projects import Installed, Journey

pytestmark = pytest.mark.run

TASKS = ("text_classification", "image_classification", "audio_classification", "multimodal")
# a language model with dropout of its own and rows packed; the others are in test_lora.py and so on
PAIRS = [("llm", "full"), *((task, each) for each in ("lora", "qlora") for task in TASKS)]
STEPS = 14
# another step each day; ML_TEMPLATE_SEED=… repeats one
SEED = int(os.environ.get("ML_TEMPLATE_SEED") or time.time() // 86400)


def journey_of(project: Installed, folder: Path) -> Journey:
    """A training command with everything random switched on, on a model of another family."""
    arguments = [
        *user_data.CASES[project.task].prepare(project, folder),
        *("--model.name_or_path", foreign_model(project, folder / "base")),
        *("--train.max_steps", str(STEPS), "--train.log_every", "1", "--train.save_every", "5"),
        *("--train.micro_batch_size", "2", "--train.global_batch_size", "4"),
        *("--train.learning_rate", "5e-3", "--train.seed", "17"),
    ]
    more = {
        "llm": ["--train.packing", "true", "--train.max_seq_len", "128"],
        "text_classification": ["--train.max_seq_len", "128"],
        "image_classification": ["--train.crop_min_area", "0.5", "--train.horizontal_flip", "true"],
        "audio_classification": ["--data.max_seconds", "1", "--train.time_shift", "0.2"],
        "multimodal": ["--train.max_seq_len", "256"],
    }
    scratch_only = {"--model.scratch.image_size", "--model.scratch.patch_size"}
    kept = [
        word
        for i, word in enumerate(arguments)
        if word not in scratch_only and (i == 0 or arguments[i - 1] not in scratch_only)
    ]
    return Journey(project, [*kept, *more[project.task]], folder)


@pytest.mark.parametrize(("task", "strategy"), PAIRS, ids=["-".join(pair) for pair in PAIRS])
def test_smoke_train_kill_resume_export_predict(
    task: str, strategy: str, environment: Path, tmp_path: Path
) -> None:
    base = "scratch" if strategy == "full" else "./base"
    root = helpers.copy_project(
        tmp_path / "my project", task=task, strategy=strategy, base_model=base
    )
    (root / ".venv").symlink_to(environment)
    project = Installed(root, task)
    assert "smoke test passed" in project.run("make", "smoke")

    journey = journey_of(project, tmp_path)
    project.run(*journey.command("models/straight"))
    straight = project.root / "models/straight"
    config = yaml.safe_load((straight / "config.yaml").read_text("utf-8"))
    assert strategy == "full" or config["model"]["lora"]["dropout"] > 0

    step = random.Random(f"{SEED} {task} {strategy}").randrange(1, STEPS - 1)
    print(f"killed after step {step}, by ML_TEMPLATE_SEED={SEED}")
    command = journey.command("models/broken")
    stop_after(project, command, step, signal.SIGKILL, expected=-signal.SIGKILL)
    project.run(*command)
    whole, broken = (project.metrics(f"models/{run}") for run in ("straight", "broken"))
    assert len(whole) == STEPS
    assert [numbers(row) for row in broken] == [numbers(row) for row in whole]
    assert weights(project.root / "models/broken/final") == weights(straight / "final") != {}

    exported = straight / "export"
    project.run(
        *project.script("export", "--model", "models/straight/final", "--output", str(exported))
    )
    case = user_data.CASES[task]
    words = case.words(tmp_path)
    final, export = (
        project.run(*project.script("predict", "--model", model, *words))
        for model in ("models/straight/final", str(exported))
    )
    assert without_scores(final) == without_scores(export)
    assert len(export.splitlines()) == len(case.inputs(tmp_path))
    if case.labels:
        assert all(json.loads(line)["label"] in case.labels for line in export.splitlines())
