"""Load the generated project's set-up scripts, which are no package of this repository."""

from __future__ import annotations

import importlib.util
import shutil
import stat
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = ROOT / "template" / "scripts"
FIXTURES = ROOT / "tests" / "fixtures" / "nvidia_smi"
PINS = "packaging==26.3\n"


def load(path: Path, name: str) -> ModuleType:
    """Load one file as the module `name`, once."""
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(
        name,
        path,
        submodule_search_locations=[str(path.parent)] if path.stem == "__init__" else None,
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def machine(name: str) -> Any:
    """Return `scripts/machine/<name>.py` of the template."""
    load(SCRIPTS / "machine" / "__init__.py", "machine")
    return load(SCRIPTS / "machine" / f"{name}.py", f"machine.{name}")


def script(name: str) -> Any:
    """Return `scripts/<name>.py`."""
    load(SCRIPTS / "machine" / "__init__.py", "machine")
    return load(SCRIPTS / f"{name}.py", f"template_script_{name}")


def hook(name: str) -> Any:
    """Return `hooks/<name>.py`."""
    load(ROOT / "hooks" / "pipeline.py", "pipeline")
    return load(ROOT / "hooks" / f"{name}.py", name)


def answers(fixture: str) -> dict[str, str]:
    """Return the outputs in a fixture by the arguments that give them."""
    found: dict[str, str] = {}
    for part in (FIXTURES / f"{fixture}.txt").read_text("utf-8").split("$ nvidia-smi")[1:]:
        command, _, output = part.partition("\n")
        found[command.strip()] = output.strip("\n") + "\n"
    return found


def install_fake_nvidia_smi(folder: Path, fixture: str) -> None:
    """Write an `nvidia-smi` that answers as the fixture does."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = ["#!/bin/sh", 'case "$*" in']
    for number, (arguments, output) in enumerate(answers(fixture).items()):
        text = folder / f"answer{number}"
        text.write_text(output, "utf-8")
        failed = "failed" in output or "Failed" in output or "not a valid field" in output
        lines.append(f"'{arguments}') cat '{text}'; exit {9 if failed else 0};;")
    executable(folder / "nvidia-smi", "\n".join([*lines, "*) exit 2;;", "esac", ""]))


def executable(path: Path, text: str) -> Path:
    """Write an executable file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def make_project(folder: Path, pins: str = PINS, tool: str = "uv") -> Path:
    """Write what the set-up scripts need of a project."""
    (folder / "src" / "pkg").mkdir(parents=True)
    (folder / "src" / "pkg" / "__init__.py").write_text("NAME = 'pkg'\n", "utf-8")
    (folder / "pyproject.toml").write_text(
        '[project]\nname = "pkg"\nversion = "0"\nrequires-python = ">=3.11,<3.14"\n'
        f'[tool.ml-template]\nenvironment = "{tool}"\n',
        "utf-8",
    )
    (folder / "requirements.txt").write_text(pins, "utf-8")
    shutil.copytree(SCRIPTS, folder / "scripts", ignore=shutil.ignore_patterns("__pycache__"))
    return folder
