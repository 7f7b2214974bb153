"""From nothing to a served model, on a user's own file: the steps that each case of run/ takes.

`project` and the like are fixtures of run/conftest.py, made for the case a test file names.
"""

from __future__ import annotations

import hashlib
import json
import re
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import user_data
from projects import Installed, Journey

PATIENCE_S = 120.0


def test_the_hooks_installed_checked_and_trained_one_step(project: Installed) -> None:
    report = json.loads((project.root / ".ml-template/setup-report.json").read_text("utf-8"))
    assert [step["name"] for step in report] == ["setup", "doctor", "smoke"]
    assert [step for step in report if step["status"] != "ok"] == []
    assert len(project.metrics("models/smoke")) == 1
    assert (project.root / "models/smoke/final/model.safetensors").is_file() or (
        project.root / "models/smoke/final/adapter_model.safetensors"
    ).is_file()


def test_the_projects_own_tests_pass(project: Installed) -> None:
    last = project.run("make", "test").strip().splitlines()[-1]
    assert re.search(r"\d+ passed", last) and "failed" not in last, last


def test_the_projects_own_checks_pass(project: Installed) -> None:
    """Format, style and types, with the packages whose types they are."""
    project.run("make", "lint")


def test_the_loss_falls_on_a_users_own_file(trained: Journey) -> None:
    losses = [row["loss"] for row in trained.project.metrics("models/straight")]
    assert len(losses) == 60
    assert sum(losses[-5:]) < 0.7 * sum(losses[:5]), losses
    run = trained.project.root / "models/straight"
    assert {"config.yaml", "metrics.jsonl", "final", "report.html", "run.json"} <= {
        path.name for path in run.iterdir()
    }


def test_stopped_and_killed_it_ends_as_if_it_never_was(trained: Journey) -> None:
    """SIGTERM saves and says so; kill -9 loses the steps since the checkpoint; nothing differs."""
    project, command = trained.project, trained.command("models/broken")
    stop_after(project, command, 4, signal.SIGTERM, expected=75)
    stop_after(project, command, 22, signal.SIGKILL, expected=-signal.SIGKILL)
    assert not (project.root / "models/broken/final").exists()
    project.run(*command)

    whole, broken = (project.metrics(f"models/{run}") for run in ("straight", "broken"))
    assert [numbers(row) for row in broken] == [numbers(row) for row in whole]
    assert weights(project.root / "models/broken/final") == weights(
        project.root / "models/straight/final"
    )


def test_another_seed_gives_other_numbers(trained: Journey) -> None:
    command = trained.command("models/other", "--train.seed", "18", "--train.max_steps", "2")
    trained.project.run(*command)
    other = trained.project.metrics("models/other")
    assert numbers(other[0]) != numbers(trained.project.metrics("models/straight")[0])


def test_evaluation_writes_what_was_learnt(trained: Journey) -> None:
    project = trained.project
    project.run(*project.script("evaluate", "--model", "models/straight/final"))
    report = json.loads((project.root / "models/straight/evaluation.json").read_text("utf-8"))
    case = user_data.CASES[project.task]
    if case.labels:
        assert report["eval_accuracy"] > 0.9 and report["eval_macro_f1"] > 0.9
        assert sorted(report["labels"]) == sorted(case.labels)
        assert sum(map(sum, report["confusion_matrix"])) == 30
    else:
        first = trained.project.metrics("models/straight")[0]["loss"]
        assert report["eval_loss"] < 0.7 * first
        assert report["eval_perplexity"] == pytest.approx(2.718281828 ** report["eval_loss"])


def test_the_export_is_a_plain_model_that_predicts_the_same(
    trained: Journey, exported: Path
) -> None:
    project = trained.project
    case = user_data.CASES[project.task]
    names = {path.name for path in exported.iterdir()}
    assert {"config.json", "model.safetensors", case.processor_file} <= names
    assert "adapter_config.json" not in names
    words = case.words(trained.folder)
    final = project.run(*project.script("predict", "--model", "models/straight/final", *words))
    export = project.run(*project.script("predict", "--model", str(exported), *words))
    assert without_scores(final) == without_scores(export)
    assert len(export.splitlines()) == len(case.inputs(trained.folder))
    if case.labels:
        assert [json.loads(line)["label"] for line in export.splitlines()] == list(case.labels)


def test_the_export_loads_without_this_projects_code(trained: Journey, exported: Path) -> None:
    code = """
import sys, transformers
kind = getattr(transformers, sys.argv[2])
model, info = kind.from_pretrained(sys.argv[1], output_loading_info=True)
processor = getattr(transformers, sys.argv[3]).from_pretrained(sys.argv[1])
assert not info["missing_keys"] and not info["unexpected_keys"], info
print(sum(p.numel() for p in model.parameters()), type(processor).__name__)
"""
    case = user_data.CASES[trained.project.task]
    kinds = (case.model_class, case.processor_class)
    said = trained.project.python_code(code, str(exported), *kinds).split()
    assert int(said[-2]) > 50_000, said


def test_the_service_answers_what_the_command_line_answers(
    trained: Journey, exported: Path
) -> None:
    project, case = trained.project, user_data.CASES[trained.project.task]
    words = case.words(trained.folder)
    printed = project.run(*project.script("predict", "--model", str(exported), *words))
    expected = [json.loads(line) for line in printed.splitlines()]
    log = project.root / "service.log"
    with log.open("w") as output:
        service = subprocess.Popen(
            [project.python, "-m", "inference", "--model", str(exported), "--port", "0"],
            cwd=project.root,
            env=project.environment,
            stdout=output,
            stderr=output,
        )
    try:
        port = wait_for(lambda: port_in(log), service)
        url = f"http://127.0.0.1:{port}"
        wait_for(lambda: get(f"{url}/readyz") == 200, service)
        assert get(f"{url}/healthz") == 200
        answer = post(f"{url}/v1/predict", {"inputs": case.inputs(trained.folder)})
        assert [comparable(output) for output in answer["outputs"]] == [
            comparable(output) for output in expected
        ]
        assert answer["model"]["name"] == "straight"
        assert re.fullmatch(r"[0-9a-f]{12}", answer["model"]["version"])
        service.send_signal(signal.SIGTERM)
        assert service.wait(timeout=60) == 0
    finally:
        service.kill()
        service.wait()


def test_a_users_mistake_is_one_sentence(trained: Journey) -> None:
    project = trained.project
    command = trained.command("models/x", "--train.lerning_rate", "1")
    done = subprocess.run(
        command, cwd=project.root, env=project.environment, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "did you mean `--train.learning_rate`" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (project.root / "models/x").exists()


def stop_after(
    project: Installed, command: list[str], step: int, number: int, expected: int
) -> None:
    """Run, send the signal once this step is logged, and check how the process ended."""
    process = subprocess.Popen(
        command,
        cwd=project.root,
        env=project.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    wait_for(lambda: logged(project.root / "models/broken/metrics.jsonl") >= step, process, 0.005)
    process.send_signal(number)
    _, said = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == expected, said


def logged(metrics: Path) -> int:
    """Return how many whole lines there are: one a step."""
    return metrics.read_bytes().count(b"\n") if metrics.is_file() else 0


def wait_for(found: Callable[[], Any], process: subprocess.Popen[Any], pause_s: float = 0.1) -> Any:
    end = time.monotonic() + PATIENCE_S
    while not (value := found()):
        assert process.poll() is None, f"it ended by itself with {process.returncode}"
        assert time.monotonic() < end, "waited in vain"
        time.sleep(pause_s)
    return value


def numbers(row: dict[str, Any]) -> dict[str, Any]:
    """Return what must be the same in every run: all but the speed."""
    return {key: value for key, value in row.items() if not key.endswith("_per_s")}


def weights(folder: Path) -> dict[str, str]:
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.glob("*.safetensors")
    }


def without_scores(printed: str) -> list[dict[str, Any]]:
    return [comparable(json.loads(line)) for line in printed.splitlines()]


def comparable(output: dict[str, Any]) -> dict[str, Any]:
    """Round scores: a merged model and a batch of another size add up in another order."""
    rounded = {
        key: round(value, 3) if isinstance(value, float) else value for key, value in output.items()
    }
    if "scores" in rounded:
        rounded["scores"] = {k: round(v, 3) for k, v in sorted(output["scores"].items())}
    return rounded


def port_in(log: Path) -> int:
    found = re.search(r'"port": ?(\d+)', log.read_text("utf-8"))
    return int(found[1]) if found else 0


def get(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=10) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        return error.code


def post(url: str, body: dict[str, Any]) -> Any:
    request = urllib.request.Request(
        url, json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as response:
        return json.load(response)
