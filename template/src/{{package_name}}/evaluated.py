"""What an evaluation was made on, and whether that is what its run held out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any


def other_rows(run: Mapping[str, Any], evaluation: Mapping[str, Any]) -> str | None:
    """What is evaluated, in words, where it is not what the run held out; else None.

    `run` and `evaluation` are run.json and evaluation.json. None too where one of them was written
    by a version that did not say.
    """
    pairs = (("eval_sha256", "data_sha256"), ("eval_rows", "rows"))
    if any(of_run not in run or own not in evaluation for of_run, own in pairs):
        return None
    if all(run[of_run] == evaluation[own] for of_run, own in pairs):
        return None
    name = Path(str(evaluation.get("data", "a file"))).name
    return (
        f"{name} ({evaluation['rows']} rows, SHA-256 {str(evaluation['data_sha256'])[:12]}) is not "
        f"what the run held out ({run['eval_rows']} rows, SHA-256 {str(run['eval_sha256'])[:12]})"
    )
