"""Setting up `.venv`: which PyTorch, going on after an interruption, doing nothing twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fake_uv import Machine, report
from serving import wait_until

pytestmark = pytest.mark.unit


TORCH = "torch==2.13.0\n"


def stamp(project: Path) -> Path:
    return project / ".venv" / ".ml-template-requirements"


# ── which PyTorch ──


def backend(box: Machine) -> str | None:
    (args, _) = box.calls()[-1]
    return args[args.index("--torch-backend") + 1] if "--torch-backend" in args else None


def test_cpu_build_without_gpu_and_mirror(box: Machine, project: Path) -> None:
    (project / "requirements.txt").write_text(TORCH)
    box.run(project)
    assert backend(box) == "cpu"


def test_no_backend_for_a_project_without_pytorch(box: Machine, project: Path) -> None:
    box.run(project)
    assert backend(box) is None


def test_uvs_own_setting_decides_first(box: Machine, project: Path) -> None:
    (project / "requirements.txt").write_text(TORCH)
    box.run(project, UV_TORCH_BACKEND="cu126")
    assert backend(box) is None
    assert box.calls()[0][1]["UV_TORCH_BACKEND"] == "cu126"


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ("Would install 1 package\n + torch==2.13.0+cpu", None),  # the mirror holds a build
        ("Would install 1 package\n + torch==2.13.0", "cpu"),  # it only adds other packages
    ],
)
def test_sources_beside_the_index_decide_if_they_hold_a_build(
    box: Machine, project: Path, found: str, expected: Any
) -> None:
    (project / "requirements.txt").write_text(TORCH)
    box.run(project, PIP_FIND_LINKS="/wheels", FAKE_UV_DRY_RUN=found)
    assert backend(box) == expected


def test_a_mirror_in_place_of_the_index_decides(box: Machine, project: Path) -> None:
    (project / "requirements.txt").write_text(TORCH)
    stderr = box.run(project, PIP_INDEX_URL="https://mirror.example/simple")
    assert backend(box) is None
    assert "your own package sources decide" in stderr


def test_closed_pytorch_index_is_named_with_the_way_out(box: Machine, project: Path) -> None:
    (project / "requirements.txt").write_text(TORCH)
    stderr = box.run(project, FAKE_UV_FAILS="error: Failed to fetch\n cause: dns error", code=1)
    assert "the package index cannot be reached" in stderr
    assert "PyTorch's own index" in stderr and "find-links" in stderr


# ── going on, and doing nothing ──


def test_a_second_run_does_nothing(box: Machine, project: Path) -> None:
    box.run(project)
    asked = len(box.calls())
    assert "nothing to do" in box.run(project)
    assert len(box.calls()) == asked
    assert report(project)["status"] == "ok"


def test_changed_pins_are_installed_into_the_same_environment(box: Machine, project: Path) -> None:
    box.run(project)
    (project / "requirements.txt").write_text("packaging==25.0\n")
    mine = project / ".venv" / "mine"
    mine.touch()
    box.run(project)
    assert len(box.calls()) == 2
    assert mine.exists()


def test_force_makes_the_environment_anew(box: Machine, project: Path) -> None:
    box.run(project)
    mine = project / ".venv" / "mine"
    mine.touch()
    box.run(project, "--force")
    assert not mine.exists()


def test_another_tool_makes_the_environment_anew(box: Machine, project: Path) -> None:
    box.run(project)
    pyproject = project / "pyproject.toml"
    pyproject.write_text(pyproject.read_text("utf-8").replace('"uv"', '"conda"'), "utf-8")
    stderr = box.run(project, code=1)
    assert "conda was chosen for this project and is not installed" in stderr
    assert 'environment = "uv"' in report(project)["remedy"]


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_installation_is_made_anew(
    box: Machine, project: Path, tmp_path: Path, how: signal.Signals
) -> None:
    started = tmp_path / "installing"
    process = box.start(project, FAKE_UV_HANGS=str(started))
    wait_until(started.exists, 30)
    half_made = project / ".venv" / "half"
    half_made.touch()
    os.killpg(process.pid, how)
    _, stderr = process.communicate(timeout=30)
    assert process.returncode != 0
    assert not stamp(project).exists()
    if how == signal.SIGINT:
        assert "Interrupted" in stderr and "Traceback" not in stderr
        assert report(project)["message"] == "interrupted"
    assert "interrupted; making .venv anew" in box.run(project)
    assert stamp(project).exists() and not half_made.exists()
    assert report(project)["status"] == "ok"


def test_an_environment_half_made_is_made_again(box: Machine, project: Path) -> None:
    (project / ".venv" / "bin").mkdir(parents=True)
    (project / ".ml-template").mkdir()
    (project / ".ml-template" / "setup.running").touch()
    box.run(project)
    assert stamp(project).exists()


def test_a_failed_update_leaves_the_working_environment(box: Machine, project: Path) -> None:
    box.run(project)
    (project / "requirements.txt").write_text("packaging==25.0\n")
    mine = project / ".venv" / "mine"
    mine.touch()
    box.run(project, FAKE_UV_FAILS="error: dns error", code=1)
    assert "anew" not in box.run(project)
    assert mine.exists()


def test_the_users_own_environment_is_kept(box: Machine, project: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", project / ".venv"], check=True)
    mine = project / ".venv" / "mine"
    mine.touch()
    box.run(project)
    assert mine.exists() and box.calls("venv") == []


def test_the_package_is_importable_even_after_the_project_moved(
    box: Machine, project: Path, tmp_path: Path
) -> None:
    box.run(project)
    moved = project.rename(tmp_path / "moved elsewhere")
    code = "import pkg; print(pkg.NAME, pkg.__file__)"
    out = subprocess.run(
        [moved / ".venv/bin/python", "-c", code], capture_output=True, text=True, check=True
    )
    assert out.stdout.startswith("pkg ") and "moved elsewhere" in out.stdout
