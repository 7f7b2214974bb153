"""The notebooks: valid, without outputs, and their code runs from top to bottom."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def code_cells(path: Path) -> list[dict[str, Any]]:
    notebook = json.loads(path.read_text(encoding="utf-8"))
    assert (notebook["nbformat"], notebook["nbformat_minor"]) >= (4, 5)
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


@pytest.fixture
def project(make_config: Callable[[], Any], tiny_run: Path, tmp_path: Path) -> Path:
    """A folder with what the notebooks read: a configuration with its data, and one run."""
    for part in ("configs", "notebooks"):
        (tmp_path / part).mkdir()
    shutil.copytree(ROOT / "data" / "sample", tmp_path / "data" / "sample")
    make_config().write_yaml(tmp_path / "configs" / "train.yaml")
    shutil.copytree(tiny_run.parent, tmp_path / "models" / "tiny-run")
    return tmp_path


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_code_runs_in_order(path: Path, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project / "notebooks")
    names: dict[str, Any] = {"__name__": "__main__"}
    for number, cell in enumerate(code_cells(path), start=1):
        code = compile("".join(cell["source"]), f"{path.name}, code cell {number}", "exec")
        exec(code, names)
    assert len(names) > 2, f"{path.name} defined nothing"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_no_output_is_stored(path: Path) -> None:
    assert all(cell["outputs"] == [] for cell in code_cells(path))
