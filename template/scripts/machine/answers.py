"""Read `.copier-answers.yml` as Copier does, which stops at a broken one with a traceback."""

from __future__ import annotations

import re
import sys
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any


def read(text: str, root: Path) -> dict[str, str]:
    """Return what stands behind each name, as text. Raises ValueError with the line of a mistake.

    PyYAML is this Python's, or that of the `.venv` of the project in `root`. Where neither has it,
    only what Copier itself writes is read, and no mistake is found.
    """
    yaml = _library(root)
    if yaml is None:
        # a long value goes on in the next lines, which are indented
        lines = re.findall(r"(?m)^(\w+):[ \t]*(.*(?:\n[ \t]+.*)*)", text)
        return {key: re.sub(r"\n[ \t]+", " ", value).strip("'\" ") for key, value in lines}
    try:
        is_mapping = isinstance(yaml.safe_load(text), dict)
        found = yaml.load(text, Loader=yaml.BaseLoader)  # 1.10 is no number here
    except (yaml.YAMLError, ValueError) as error:  # a date that no calendar has
        raise ValueError(_line(text, error)) from None
    if not is_mapping:
        raise ValueError("line 1")
    return {str(name): str(value) for name, value in found.items()}


def _library(root: Path) -> Any:
    with suppress(ImportError):
        return import_module("yaml")
    for folder in (*root.glob(".venv/lib/python*/site-packages"), root / ".venv/Lib/site-packages"):
        sys.path.append(str(folder))
        with suppress(ImportError):
            return import_module("yaml")
        sys.path.remove(str(folder))
    return None


def _line(text: str, error: Any) -> str:
    """Where YAML found the mistake; of what has no end, where it begins."""
    mark = getattr(error, "problem_mark", None)
    if str(getattr(error, "context", "")).startswith("while scanning"):
        mark = error.context_mark or mark
    number = mark.line if mark else text.count("\n", 0, getattr(error, "position", 0))
    return f"line {number + 1}"
