"""Times of commands, measured in turns, and tables of them."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

Work = Callable[[], float]


@dataclass
class Series:
    """Seconds of one thing, in the order they were measured."""

    seconds: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        """The middle one: one slow turn does not move it."""
        return statistics.median(self.seconds)

    def minus(self, other: Series) -> Series:
        """Return the differences, turn by turn."""
        return Series([a - b for a, b in zip(self.seconds, other.seconds, strict=True)])

    def divided(self, number: int) -> Series:
        """Return each value's share."""
        return Series([value / number for value in self.seconds])


def take_turns(works: Mapping[str, Work], repeats: int) -> dict[str, Series]:
    """Measure all, one after another, `repeats` times: what slows the machine slows each.

    A first turn, not counted, fills the caches.
    """
    series = {name: Series() for name in works}
    for turn in range(repeats + 1):
        for name, work in works.items():
            seconds = work()
            print(f"  {turn}/{repeats} {name}: {seconds:.2f} s", file=sys.stderr, flush=True)
            if turn:
                series[name].seconds.append(seconds)
    return series


def command(
    arguments: Sequence[str | Path], cwd: Path, environment: Mapping[str, str] | None = None
) -> Work:
    """Return what runs a command and gives its wall time; it raises where the command fails."""

    def work() -> float:
        started = time.perf_counter()
        done = subprocess.run(
            [str(argument) for argument in arguments],
            cwd=cwd,
            env={**os.environ, "HF_HUB_OFFLINE": "1", **(environment or {})},
            capture_output=True,
            text=True,
            check=False,
        )
        seconds = time.perf_counter() - started
        if done.returncode:
            raise RuntimeError(f"{arguments} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        return seconds

    return work


def table(title: str, series: Mapping[str, Series], note: str = "") -> str:
    """Return a Markdown table; ratios are to the first row, of the medians."""
    first = next(iter(series.values())).median
    lines = [
        f"## {title}",
        "",
        *([note, ""] if note else []),
        "| what | median s | min to max s | ratio |",
        "|---|---:|---:|---:|",
    ]
    for name, one in series.items():
        low, high = min(one.seconds), max(one.seconds)
        lines.append(
            f"| {name} | {one.median:.3f} | {low:.3f} to {high:.3f} | {one.median / first:.2f} |"
        )
    return "\n".join([*lines, ""])


def machine() -> str:
    """Return processor, cores and system, without a name or a path of this machine."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        names = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        model = names[0].split(":", 1)[1].strip() if names else model
    return (
        f"{model}, {os.cpu_count()} cores; {platform.system()}, Python {platform.python_version()}"
    )
