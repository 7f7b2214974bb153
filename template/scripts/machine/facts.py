"""The facts behind the doctor's checks, each asked for once."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import nvidia
from .environments import Installed, Project, inspect, running

GIB = 2**30

# One start of the environment's Python tells everything that needs PyTorch (about 2 s).
PROBE = """
import json, sys
facts = {}
try:
    import torch
    facts.update(
        torch=torch.__version__,
        cuda=torch.version.cuda,
        hip=torch.version.hip,
        available=torch.cuda.is_available(),
        mps=torch.backends.mps.is_available(),
    )
    try:  # get_arch_list() is empty where CUDA is unavailable; the build knows it all the same
        facts["architectures"] = (torch._C._cuda_getArchFlags() or "").split()
    except AttributeError:
        facts["architectures"] = torch.cuda.get_arch_list()
except Exception as error:
    facts["error"] = f"{type(error).__name__}: {error}"
print("FACTS" + json.dumps(facts))
"""


@dataclass(frozen=True)
class Facts:
    """What the machine and the environment say."""

    root: Path
    requires_python: str = ">=3.11,<3.14"
    uses_torch: bool = True
    processes: int = 1  # that `make train` starts, one for each GPU
    installed: Installed | None = None
    torch: Mapping[str, Any] = field(default_factory=dict)  # see PROBE
    driver: nvidia.Driver | None = None
    estimate: Mapping[str, Any] = field(default_factory=dict)  # peak_gib, or error
    amd: bool = False
    visible: str | None = None  # CUDA_VISIBLE_DEVICES
    free_disk_gib: float = 0.0
    system: str = sys.platform
    processor: str = platform.machine()

    @property
    def gpus(self) -> tuple[nvidia.Gpu, ...]:
        """The NVIDIA GPUs which CUDA_VISIBLE_DEVICES leaves."""
        return nvidia.visible_gpus(self.driver.gpus, self.visible) if self.driver else ()


def collect(root: Path) -> Facts:
    """Ask the machine, the environment and the estimator."""
    requires, processes, name = Facts.requires_python, Facts.processes, root.name
    with suppress(OSError, ValueError, KeyError):
        pyproject = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
        requires, name = pyproject["project"]["requires-python"], pyproject["project"]["name"]
        made_for = pyproject["tool"]["ml-template"]
        processes = made_for["gpu_count"] if made_for["parallelism"] != "single" else 1
    pins = root / "requirements.txt"
    text = pins.read_text(encoding="utf-8") if pins.is_file() else ""
    uses_torch = re.search(r"(?m)^torch==", text) is not None
    project = Project(root, requires)
    installed = inspect(project) or running(project, name)
    driver = nvidia.detect()
    return Facts(
        root=root,
        requires_python=requires,
        uses_torch=uses_torch,
        processes=processes,
        installed=installed,
        torch=_probe(root, installed) if installed and uses_torch else {},
        driver=driver,
        estimate=_estimate(root, installed) if driver and driver.gpus else {},
        amd=nvidia.amd_gpu(),
        visible=os.environ.get("CUDA_VISIBLE_DEVICES"),
        free_disk_gib=shutil.disk_usage(root).free / GIB,
    )


def _probe(root: Path, installed: Installed) -> dict[str, Any]:
    text = _ask(root, [str(installed.program), "-I", "-c", PROBE])
    found = re.search(r"^FACTS(.*)$", text, re.MULTILINE)
    facts = json.loads(found[1]) if found else {"error": _last_line(text)}
    return facts if isinstance(facts, dict) else {}


def _estimate(root: Path, installed: Installed | None) -> dict[str, Any]:
    config = root / "configs" / "train.yaml"
    if installed is None:
        return {"error": "there is no usable .venv"}
    command = [str(installed.program), "scripts/estimate.py", "--config", str(config), "--json"]
    text = _ask(root, command)
    try:
        answer = json.loads(text)
        return {"peak_gib": float(answer["peak_gib"])}
    except (ValueError, KeyError, TypeError):
        return {"error": f"scripts/estimate.py gives no answer ({_last_line(text)})"}


def _ask(root: Path, command: list[str]) -> str:
    """Return stdout, or stderr where the command fails."""
    try:
        done = subprocess.run(
            command,
            cwd=root,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=180,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return done.stdout if done.returncode == 0 else done.stderr


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1].strip()[:160] if lines else "no output"
