"""A project with both trackers: recorded through a stop and a kill, and both registries."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from projects import Installed, generate

pytestmark = pytest.mark.run

READ_MLFLOW = """
import json, sys
from mlflow.tracking import MlflowClient
client = MlflowClient("sqlite:///models/mlflow.db")
run = client.get_run(sys.argv[1])
points = client.get_metric_history(sys.argv[1], "loss")
print(json.dumps([run.info.status, sorted({p.step for p in points}), run.data.tags]))
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """A small classifier with W&B and MLflow, every hook run."""
    folder = tmp_path_factory.mktemp("run") / "tracked"
    answers = {"task": "text_classification", "base_model": "scratch", "strategy": "full"}
    return generate(folder, tracking=["wandb", "mlflow"], **answers)


@pytest.fixture(scope="module")
def run(project: Installed) -> Path:
    """A run of 40 steps that was stopped once and killed once."""
    words = ["--config", "configs/train.yaml", "--train.max_steps", "40", "--train.save_every", "5"]
    words += ["--train.log_every", "1", "--tracking.finish_seconds", "120"]
    command = project.script("train", *words)
    for step, number, code in ((8, signal.SIGTERM, 75), (22, signal.SIGKILL, -signal.SIGKILL)):
        process = subprocess.Popen(command, cwd=project.root, env=project.environment)
        end = time.monotonic() + 180
        while not any(row["step"] >= step for row in project.metrics("models/run")):
            assert time.monotonic() < end and process.poll() is None
            time.sleep(0.05)
        process.send_signal(number)
        assert process.wait(180) == code
    project.run(*command)
    return project.root / "models/run"


def test_mlflow_has_every_step_in_one_run(project: Installed, run: Path) -> None:
    known = json.loads((run / "tracking.json").read_text("utf-8"))["mlflow"]
    status, steps, tags = json.loads(project.python_code(READ_MLFLOW, known))
    assert status == "FINISHED"
    # what a killed process had not sent yet is in metrics.jsonl alone
    assert {1, 40} <= set(steps) <= set(range(1, 41)) and len(steps) > 30
    record = json.loads((run / "run.json").read_text("utf-8"))
    assert tags["data_sha256"] == record["data_sha256"]


def test_wandb_has_an_offline_run_of_one_id(run: Path) -> None:
    known = json.loads((run / "tracking.json").read_text("utf-8"))["wandb"]
    files = list((run / "wandb").glob("offline-run-*/*.wandb"))
    assert files and {path.name for path in files} == {f"run-{known}.wandb"}


@pytest.mark.parametrize("kind", ["local", "mlflow"])
def test_both_registries_answer_the_same(
    project: Installed, run: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODEL_REGISTRY", kind)

    def registry(*words: str, code: int = 0) -> str:
        return project.run(*project.script("registry", *words), code=code)

    name = yaml_name(project)
    assert f"registered as {name}@1" in registry("register", "models/run/final")
    assert f"registered as {name}@2" in registry("register", "models/smoke/final")
    assert f"{name}@champion is version 1 (new)" in registry("promote", f"{name}@1")
    assert f"{name}@champion is version 2 (was 1)" in registry("promote", f"{name}@2")
    assert f"{name}@champion is version 1 (was 2)" in registry("rollback", name)
    registry("rollback", name, code=2)
    history: list[dict[str, Any]] = json.loads(registry("show", name, "--json"))["history"]
    assert [step["action"] for step in history] == ["promote", "promote", "rollback"]
    predict = project.script("predict", "--model", f"registry:{name}@champion", "where is it")
    direct = project.script("predict", "--model", "models/run/final", "where is it")
    assert project.run(*predict) == project.run(*direct)


def yaml_name(project: Installed) -> str:
    """The package's name, under which models are registered."""
    (package,) = (project.root / "src").iterdir()
    return package.name
