"""The report of the set-up steps: `.ml-template/setup-report.json`, one entry a step."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

STATE = ".ml-template"
REPORT = "setup-report.json"
ORDER = ("setup", "doctor", "smoke")
STAMP = ".ml-template-requirements"  # in .venv: what was installed last


def read(root: Path) -> list[dict[str, Any]]:
    """Return the recorded steps; a missing or damaged report is an empty one."""
    try:
        steps = json.loads((root / STATE / REPORT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    entries = steps if isinstance(steps, list) else []
    return [step for step in entries if isinstance(step, dict) and "name" in step]


def record(
    root: Path, name: str, status: str, seconds: float, message: str, remedy: str = ""
) -> None:
    """Write one step's entry (status: ok, failed or skipped) in place of its older one."""
    entry = {
        "name": name,
        "status": status,
        "seconds": round(seconds, 1),
        "message": message,
        "remedy": remedy,
    }
    steps = [step for step in read(root) if step["name"] != name] + [entry]
    steps.sort(key=lambda step: ORDER.index(step["name"]) if step["name"] in ORDER else len(ORDER))
    write_atomically(root / STATE / REPORT, json.dumps(steps, indent=2, ensure_ascii=False) + "\n")


def write_atomically(path: Path, text: str) -> None:
    """Replace the file at once, so that an interruption leaves the old one or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)
