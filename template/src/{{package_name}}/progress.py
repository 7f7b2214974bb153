"""What training shows and writes while it runs: metrics.jsonl, a progress bar, plain lines."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any, Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from .runs import read_json


class MetricsLog:
    """metrics.jsonl; a resumed run first drops the lines after its checkpoint."""

    def __init__(self, path: Path, start: int) -> None:
        self.path = path
        kept = [line for line in read_metrics(path) if line["step"] <= start]
        text = "".join(json.dumps(line) + "\n" for line in kept)
        temporary = path.with_name(f".{path.name}.writing")
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)

    def write(self, values: dict[str, Any]) -> None:
        """Append one line; numbers that JSON cannot hold become null."""
        safe = {
            key: None if isinstance(value, float) and not math.isfinite(value) else value
            for key, value in values.items()
        }
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(safe) + "\n")


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The whole lines of metrics.jsonl; a last line cut short by a kill is left out."""
    lines: list[dict[str, Any]] = []
    if not path.is_file():
        return lines
    for text in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            line = json.loads(text)
        except ValueError:
            continue
        if isinstance(line, dict) and isinstance(line.get("step"), int):
            lines.append(line)
    return lines


def final_evaluation(run: Path) -> dict[str, float]:
    """The newest numbers of each metric on held-out rows, for the weights in the run's final/.

    They are of an earlier step than the last where the best evaluation's weights were taken.
    """
    final_step = read_json(run / "run.json").get("final_step")
    found: dict[str, float] = {}
    for line in read_metrics(run / "metrics.jsonl"):
        if isinstance(final_step, int) and line["step"] > final_step:
            continue
        values = {name: value for name, value in line.items() if name.startswith("eval_")}
        found |= {name: value for name, value in values.items() if isinstance(value, int | float)}
    return found


class Display:
    """A bar with loss, speed and time left on a terminal; one line per log elsewhere."""

    def __init__(self, total_steps: int, start: int, unit: str, quiet: bool = False) -> None:
        self.total_steps, self.unit = total_steps, unit.removesuffix("_per_s")
        self.console = Console(stderr=True, highlight=False, quiet=quiet)
        self.bar = Progress(
            TextColumn("step"),
            MofNCompleteColumn(),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[status]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self.console,
            disable=quiet or not sys.stderr.isatty(),
        )
        self.task = self.bar.add_task("train", total=total_steps, completed=start, status="")

    def __enter__(self) -> Self:
        self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def step(self, step: int, loss: float) -> None:
        """Move the bar."""
        self.bar.update(self.task, completed=step, status=f"loss {loss:.4f}")

    def log(self, values: dict[str, Any]) -> None:
        """One line that a person reads and grep finds."""
        speed = values.get(f"{self.unit}_per_s")
        words = [f"step {values['step']:>{len(str(self.total_steps))}}/{self.total_steps}"]
        words += [
            f"{name} {values[name]:.4g}"
            for name in values
            if name not in {"step", f"{self.unit}_per_s"} and isinstance(values[name], float)
        ]
        words += [f"{speed:,.0f} {self.unit}/s"] if speed else []
        self.say(" | ".join(words))

    def say(self, text: str) -> None:
        """A line above the bar."""
        self.console.print(text, markup=False, soft_wrap=True)
