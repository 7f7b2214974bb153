"""The hooks: how far they go, what they leave behind, and that they never harm a project."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from machine_scripts import ROOT, executable, make_project
from serving import wait_until

pytestmark = pytest.mark.unit

# Stands for each of the three scripts: notes that it ran, then does what the test asks.
STUB = """
import os, sys, time
from pathlib import Path
name = "{name}"
with open("ran.txt", "a") as file:
    print(name, sys.executable == os.environ["TEST_PYTHON"], file=file)
if name == "setup":
    venv = Path(".venv/bin")
    venv.mkdir(parents=True, exist_ok=True)
    if not (venv / "python").exists():
        (venv / "python").symlink_to(sys.executable)
wish = os.environ.get("STUB_" + name.upper(), "")
if wish == "hang":
    Path("hanging").touch()
    time.sleep(60)
if wish == "report":
    sys.path.insert(0, "scripts")
    from machine import steps
    steps.record(Path.cwd(), name, "failed", 1.5, "its own reason", "its own remedy")
sys.exit(1 if wish else 0)
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = make_project(tmp_path / "my project")
    for name, file in {"setup": "setup_env", "doctor": "doctor", "smoke": "smoke_test"}.items():
        executable(folder / "scripts" / f"{file}.py", STUB.format(name=name))
    return folder


def start(hook: str, project: Path, **env: str) -> subprocess.Popen[str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("ML_TEMPLATE")}
    return subprocess.Popen(
        [sys.executable, str(ROOT / "hooks" / f"{hook}.py")],
        cwd=project,
        env=kept | {"COPIER_OPERATION": "copy", "TEST_PYTHON": sys.executable} | env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def run(hook: str, project: Path, code: int = 0, **env: str) -> str:
    process = start(hook, project, **env)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == code, stderr
    assert "Traceback" not in stderr
    return stderr


def ran(project: Path) -> list[str]:
    file = project / "ran.txt"
    return (
        [line.split()[0] for line in file.read_text("utf-8").splitlines()] if file.exists() else []
    )


def report(project: Path) -> dict[str, dict[str, Any]]:
    entries = json.loads((project / ".ml-template/setup-report.json").read_text("utf-8"))
    assert all(
        set(entry) == {"name", "status", "seconds", "message", "remedy"} for entry in entries
    )
    return {entry["name"]: entry for entry in entries}


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        ("off", []),
        ("install", ["setup"]),
        ("doctor", ["setup", "doctor"]),
        ("all", ["setup", "doctor", "smoke"]),
        ("", ["setup", "doctor", "smoke"]),
        ("ALL", ["setup", "doctor", "smoke"]),
    ],
)
def test_level_says_how_far(project: Path, level: str, expected: Any) -> None:
    run("post_generate", project, ML_TEMPLATE_HOOKS=level)
    assert ran(project) == expected
    if expected:
        statuses = {name: entry["status"] for name, entry in report(project).items()}
        assert list(statuses) == ["setup", "doctor", "smoke"]
        assert [name for name, status in statuses.items() if status == "ok"] == expected


def test_unknown_level_is_a_sentence_and_nothing_runs(project: Path) -> None:
    stderr = run("post_generate", project, ML_TEMPLATE_HOOKS="instal")
    assert "ML_TEMPLATE_HOOKS='instal' is not one of off, install, doctor, all" in stderr
    assert ran(project) == []
    run("post_generate", project, code=1, ML_TEMPLATE_HOOKS="instal", ML_TEMPLATE_STRICT="1")


def test_nothing_runs_in_an_update(project: Path) -> None:
    assert run("post_generate", project, COPIER_OPERATION="update") == ""
    assert ran(project) == []


def test_smoke_runs_in_the_projects_python(project: Path) -> None:
    run("post_generate", project)
    lines = (project / "ran.txt").read_text("utf-8").splitlines()
    assert lines == ["setup True", "doctor True", "smoke False"]


def test_summary_names_the_next_command(project: Path) -> None:
    stderr = run("post_generate", project)
    assert f"cd '{project}' && make train" in stderr
    stderr = run("post_generate", project, PWD=str(project.parent), STUB_DOCTOR="fail")
    assert "cd 'my project' && make setup doctor smoke" in stderr


def test_failed_setup_skips_the_rest_and_keeps_the_project(project: Path) -> None:
    stderr = run("post_generate", project, STUB_SETUP="report")
    entries = report(project)
    assert entries["setup"]["message"] == "its own reason"
    assert [entries[name]["status"] for name in ("doctor", "smoke")] == ["skipped", "skipped"]
    assert "→ its own remedy" in stderr and "make setup doctor smoke" in stderr
    assert ran(project) == ["setup"]


def test_failed_doctor_does_not_stop_smoke(project: Path) -> None:
    run("post_generate", project, STUB_DOCTOR="fail")
    entries = report(project)
    assert entries["doctor"]["status"] == "failed" and "exit code 1" in entries["doctor"]["message"]
    assert entries["smoke"]["status"] == "ok"


def test_strict_fails_the_generation_and_tells_why_before_it_is_deleted(project: Path) -> None:
    stderr = run("post_generate", project, code=1, STUB_SMOKE="report", ML_TEMPLATE_STRICT="1")
    assert "--no-cleanup" in stderr and '"its own reason"' in stderr
    run("post_generate", project, ML_TEMPLATE_STRICT="1")
    run("post_generate", project, ML_TEMPLATE_STRICT="0", STUB_SMOKE="fail")


def test_missing_script_is_a_failed_step(project: Path) -> None:
    (project / "scripts" / "smoke_test.py").unlink()
    run("post_generate", project)
    assert report(project)["smoke"]["status"] == "failed"


def test_a_project_without_the_scripts_survives(tmp_path: Path) -> None:
    stderr = run("post_generate", tmp_path)
    assert "the set-up stopped" in stderr


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL], ids=["Ctrl-C", "killed"])
@pytest.mark.parametrize("step", ["setup", "doctor", "smoke"])
def test_after_an_interruption_in_any_step_the_same_command_completes(
    project: Path, step: str, how: signal.Signals
) -> None:
    process = start("post_generate", project, **{f"STUB_{step.upper()}": "hang"})
    wait_until((project / "hanging").exists, 30)
    os.killpg(process.pid, how)
    _, stderr = process.communicate(timeout=30)
    if how == signal.SIGINT:
        assert process.returncode == 0 and "make setup doctor smoke" in stderr
    run("post_generate", project)
    assert [entry["status"] for entry in report(project).values()] == ["ok"] * 3


def test_without_make_the_summary_says_what_to_do(project: Path, tmp_path: Path) -> None:
    stderr = run("post_generate", project, PATH=str(tmp_path))
    assert "make is not installed" in stderr and "scripts/setup_env.py" in stderr
    assert "make is not installed" not in run("post_generate", project)


def test_ctrl_c_is_that_steps_failure(project: Path) -> None:
    process = start("post_generate", project, STUB_DOCTOR="hang")
    wait_until((project / "hanging").exists, 30)
    os.killpg(process.pid, signal.SIGINT)
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == 0
    assert "doctor interrupted; the project stays" in stderr
    entries = report(project)
    assert (entries["doctor"]["status"], entries["doctor"]["message"]) == ("failed", "interrupted")
    assert entries["smoke"]["status"] == "skipped"


def make_stamp(project: Path, pins: bytes) -> None:
    (project / ".venv").mkdir(exist_ok=True)
    stamp = {"requirements": hashlib.sha256(pins).hexdigest()}
    (project / ".venv" / ".ml-template-requirements").write_text(json.dumps(stamp))


def test_update_reinstalls_once_if_the_pins_changed(project: Path) -> None:
    make_stamp(project, b"older")
    run("post_update", project, COPIER_OPERATION="update")
    assert ran(project) == ["setup"]


def test_update_does_nothing_if_the_pins_are_the_same(project: Path) -> None:
    make_stamp(project, (project / "requirements.txt").read_bytes())
    assert run("post_update", project) == ""
    assert ran(project) == []


def test_update_does_nothing_without_an_environment_or_with_hooks_off(project: Path) -> None:
    run("post_update", project)
    make_stamp(project, b"older")
    run("post_update", project, ML_TEMPLATE_HOOKS="off")
    assert ran(project) == []


def test_update_does_not_install_conflicting_pins(project: Path) -> None:
    make_stamp(project, b"older")
    (project / "requirements.txt").write_text(
        "<<<<<<< before\na==1\n=======\na==2\n>>>>>>> after\n"
    )
    assert "run `make lock`" in run("post_update", project)
    assert ran(project) == []


def test_failed_reinstall_fails_only_a_strict_update(project: Path) -> None:
    make_stamp(project, b"older")
    run("post_update", project, STUB_SETUP="fail")
    assert report(project)["setup"]["status"] == "failed"
    make_stamp(project, b"older")
    run("post_update", project, code=1, STUB_SETUP="fail", ML_TEMPLATE_STRICT="1")
    assert report(project)["setup"]["status"] == "failed"


def test_a_damaged_report_is_replaced(project: Path) -> None:
    (project / ".ml-template").mkdir()
    (project / ".ml-template/setup-report.json").write_text('{"half')
    run("post_generate", project)
    assert report(project)["setup"]["status"] == "ok"
