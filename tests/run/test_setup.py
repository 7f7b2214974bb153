"""Real installations of one small package, from this machine's package index."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from machine_scripts import make_project

pytestmark = pytest.mark.run


@pytest.mark.parametrize("tool", ["uv", "venv"])
def test_pinned_package_is_installed_and_compiled(tmp_path: Path, tool: str) -> None:
    project = make_project(tmp_path / "my prøject", tool=tool)
    command = [sys.executable, "scripts/setup_env.py"]
    subprocess.run(command, cwd=project, check=True, timeout=120)
    code = "import packaging, pkg; print(packaging.__version__, packaging.__cached__)"
    done = subprocess.run(
        [project / ".venv/bin/python", "-B", "-c", code], capture_output=True, text=True, check=True
    )
    version, compiled = done.stdout.strip().split(" ", 1)
    assert version == "26.3"
    assert Path(compiled).is_file()
    again = subprocess.run(command, cwd=project, check=True, capture_output=True, text=True)
    assert "nothing to do" in again.stderr


def test_pin_that_does_not_exist_is_named(tmp_path: Path) -> None:
    project = make_project(tmp_path / "project", pins="packaging==999.9\n")
    command = [sys.executable, "scripts/setup_env.py"]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert "your package index does not have the pinned packaging==999.9" in done.stderr
