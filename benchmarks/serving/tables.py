"""Tables of the measured cells: medians with the lowest and the highest, ratios turn by turn."""

from __future__ import annotations

import statistics
import subprocess
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from servers import ARMS, OURS
from timing import machine

Line = dict[str, Any]
Value = Callable[[Line], float | None]
PACKAGES = (
    "torch",
    "transformers",
    "fastapi",
    "uvicorn",
    "uvloop",
    "httptools",
    "litserve",
    "bentoml",
)
NAMES = [arm.name for arm in ARMS.values()]
RISING_SHARES = (0.6, 0.8, 1.0, 1.2, 1.6, 2.0, 3.0)


def report(lines: Sequence[Line], soaked: Sequence[Line], python: Path, call: str) -> str:
    """The page of results."""
    turns = len({line["turn"] for line in lines if line["turn"]})
    parts = [
        f"# Serving, {datetime.now(UTC):%Y-%m-%d}\n",
        f"`{call}`, on {machine()}. {versions(python)}.\n",
        "One text classifier (4 layers of 128, random weights), one folder, the same tokens and "
        "scores in every arm (checked before each cell to 1e-4), batches of at most 32, one "
        "PyTorch thread, access logs off. The server has core 0, the client core 1; 24 words a "
        f"text unless it says mixed. {turns} turns, each in random order; a cell shows the median, "
        "the lowest and the highest. " + busy(lines),
    ]
    closed = [f"closed {n}" for n in (1, 8, 32, 128)]
    parts += [
        table("Answers per second, closed loop", lines, [*closed, "mixed 32"], rps),
        ratios("The same, ours over theirs", lines, [*closed, "mixed 32"], rps),
        table("p50, ms", lines, [*closed, "mixed 32"], key("p50_ms")),
        table("p99, ms", lines, [*closed, "mixed 32"], key("p99_ms")),
        ratios("p99, ours over theirs (below 1 is faster)", lines, closed, key("p99_ms")),
        table(
            "Processor time of the server for each answer, ms",
            lines,
            [*closed, "mixed 32"],
            processor_ms,
        ),
        ratios(
            "The same, theirs over ours (above 1: ours costs less)",
            lines,
            [*closed, "mixed 32"],
            processor_ms,
            ours_over=False,
        ),
        table("Rows of a batch, mean", lines, [*closed, "mixed 32"], batch_size),
    ]
    opened = ["open 0.5", "open 0.8", "open 1.2"]
    is_open = any(line["scenario"] in opened for line in lines)
    parts += [
        "Open loop: Poisson arrivals at 50, 80 and 120 % of what the same arm answered at most in "
        "the closed loops of the turn; latency counts from the moment a request was due.\n"
        if is_open
        else "",
        table("p50, ms, open loop", lines, opened, key("p50_ms")),
        table("p99, ms, open loop", lines, opened, key("p99_ms")),
        overload(lines),
        rising(lines),
        disconnects(lines),
        sigterm(lines),
        table("Peak resident memory, MiB, all processes", lines, ["closed 128"],
              key("peak_rss_mib")),
    ]  # fmt: skip
    if soaked:
        parts.append(soak(lines, soaked))
    return "\n".join(part for part in parts if part)


def busy(lines: Sequence[Line]) -> str:
    """Say how much else the machine had to do."""
    found = [line["load_average"] for line in lines if "load_average" in line]
    if not found:
        return ""
    return (
        f"The machine's load average was {spread(found)}; the benchmark's own share is about 2. "
        "Where it is much more, read the ratios, which are taken turn by turn, and the processor "
        "times; the seconds are those of a starved service.\n"
    )


def versions(python: Path) -> str:
    """The packages of the environment."""
    code = (
        "from importlib.metadata import version as v\n"
        f"print(', '.join(f'{{n}}=={{v(n)}}' for n in {PACKAGES}))"
    )
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def key(name: str) -> Value:
    """One number of a cell."""
    return lambda line: line.get(name)


rps = key("answered_rps")


def processor_ms(line: Line) -> float | None:
    """What one answer costs: hardly touched by the machine's other work."""
    answered = line["all_codes"].get("200", 0)
    used = line["processor_seconds"]
    return 1000 * used / answered if answered and used else None


def batch_size(line: Line) -> float | None:
    """Rows that went through the model at once."""
    return line["rows_computed"] / line["batches"] if line["batches"] else None


def values(lines: Sequence[Line], arm: str, scenario: str, value: Value) -> dict[int, float]:
    """By turn."""
    found = {
        line["turn"]: value(line)
        for line in lines
        if line["arm"] == arm and line["scenario"] == scenario and line["turn"]
    }
    return {turn: number for turn, number in found.items() if number is not None}


def table(title: str, lines: Sequence[Line], scenarios: Sequence[str], value: Value) -> str:
    """Arms down, scenarios across."""
    rows = [
        [arm, *(spread(list(values(lines, arm, s, value).values())) for s in scenarios)]
        for arm in NAMES
    ]
    return grid(title, scenarios, rows)


def ratios(
    title: str,
    lines: Sequence[Line],
    scenarios: Sequence[str],
    value: Value,
    ours_over: bool = True,
) -> str:
    """Ours over each other arm, of the same turn; or each other over ours."""
    rows = []
    for arm in NAMES:
        if arm == OURS.name:
            continue
        cells = []
        for scenario in scenarios:
            mine = values(lines, OURS.name, scenario, value)
            theirs = values(lines, arm, scenario, value)
            both = [mine[t] / theirs[t] for t in mine if theirs.get(t)]
            both = both if ours_over else [1 / ratio for ratio in both if ratio]
            cells.append(spread(both, digits=2))
        rows.append([arm, *cells])
    return grid(title, scenarios, rows)


def overload(lines: Sequence[Line]) -> str:
    """Twice the capacity, deadline 1 s."""
    rows = []
    for arm in NAMES:
        peak = {
            turn: max(
                rate
                for n in (1, 8, 32, 128)
                if (rate := values(lines, arm, f"closed {n}", rps).get(turn)) is not None
            )
            for turn in values(lines, arm, "overload", rps)
        }
        good = values(lines, arm, "overload", key("goodput_rps"))
        share = [100 * good[turn] / peak[turn] for turn in good]
        rows.append(
            [
                arm,
                spread(share, digits=0),
                spread(list(values(lines, arm, "overload", key("p99_ms")).values())),
                spread(list(values(lines, arm, "overload", key("refused_p99_ms")).values())),
                spread(list(values(lines, arm, "overload", key("health_p99_ms")).values())),
                codes(lines, arm, "overload"),
            ]
        )
    columns = ["goodput, % of capacity", "p99 ms", "refused after, p99 ms", "health p99 ms",
               "not answered, all turns"]  # fmt: skip
    return grid("Overload: twice the capacity, a deadline of 1 s", columns, rows)


def rising(lines: Sequence[Line]) -> str:
    """Answers in time as more and more requests come; nothing where that was not measured."""
    loads = [f"rising {share}" for share in RISING_SHARES]
    mine = [line for line in lines if line["scenario"] in loads]
    if not mine:
        return ""
    good = key("goodput_rps")

    def share(line: Line) -> float:
        turn = [other for other in mine if other["turn"] == line["turn"]]
        peak = max(other["goodput_rps"] for other in turn if other["arm"] == line["arm"])
        return 100 * float(line["goodput_rps"]) / float(peak)

    said = (
        "Poisson arrivals at these shares of the closed loops' best, each answer of use for 1 s. "
        "Closed loops send their requests together, when a batch was answered; these come singly.\n"
    )
    return "\n".join(
        [
            said,
            table("Answers in time per second, as the load rises", mine, loads, good),
            table("The same, % of the most at any of these loads", mine, loads, share),
            table("Processor time for each answer, ms", mine, loads, processor_ms),
            table("`/healthz` p99, ms", mine, loads, key("health_p99_ms")),
            table("Refused after, p99 ms", mine, loads, key("refused_p99_ms")),
        ]
    )


def disconnects(lines: Sequence[Line]) -> str:
    """What was computed for clients that had left."""

    def wasted(line: Line) -> float | None:
        left = line["all_codes"].get("left", 0)
        answered = line["all_codes"].get("200", 0)
        return 100 * (line["rows_computed"] - answered) / left if left else None

    rows = [
        [
            arm,
            spread(list(values(lines, arm, "disconnects", wasted).values()), digits=0),
            spread(list(values(lines, arm, "disconnects", rps).values())),
        ]
        for arm in NAMES
    ]
    columns = ["computed for those who left, %", "answers per second"]
    return grid("128 clients, 30 % of the requests left after 30 ms", columns, rows)


def sigterm(lines: Sequence[Line]) -> str:
    """Requests lost around a SIGTERM."""
    rows = [
        [
            arm,
            spread(list(values(lines, arm, "sigterm", key("lost")).values()), digits=0),
            ended(lines, arm),
            codes(lines, arm, "sigterm", "codes"),
        ]
        for arm in NAMES
    ]
    title = "SIGTERM after 300 of 1,000 requests, at half the capacity"
    return grid(
        title,
        ["lost", "ended within 15 s", "answers, all turns (refused: no connection taken)"],
        rows,
    )


def ended(lines: Sequence[Line], arm: str) -> str:
    """In how many turns the arm was gone soon after."""
    found = [line["ended"] for line in lines if line["arm"] == arm and "ended" in line]
    return f"{sum(found)} of {len(found)} turns" if found else "-"


def codes(lines: Sequence[Line], arm: str, scenario: str, name: str = "errors") -> str:
    """All codes and their number."""
    total: Counter[str] = Counter()
    for line in lines:
        if line["arm"] == arm and line["scenario"] == scenario and line["turn"]:
            total.update(line[name])
    return ", ".join(f"{code}: {count:,}" for code, count in sorted(total.items())) or "none"


def soak(lines: Sequence[Line], soaked: Sequence[Line]) -> str:
    """The memory of a long overload."""
    found = [line for line in lines if line["scenario"] == "soak"]
    readings = ", ".join(f"{one['second']:.0f} s: {one['rss_mib']:.0f}" for one in soaked[::4])
    said = ""
    if found:
        one = found[-1]
        said = (
            f"{one['load']:.0f} requests per second due, {one['goodput_rps']:.0f} answered in "
            f"time; health p99 {one['health_p99_ms']:.0f} ms; not answered: "
            + ", ".join(f"{code}: {count:,}" for code, count in sorted(one["errors"].items()))
            + ". "
        )
    return f"## Long overload, ours\n\n{said}Resident memory in MiB: {readings}.\n"


def spread(numbers: Sequence[float], digits: int | None = None) -> str:
    """Median, lowest and highest."""
    if not numbers:
        return "-"
    middle = statistics.median(numbers)
    if digits is None:
        digits = 0 if middle >= 100 else 1
    low, high = min(numbers), max(numbers)
    return f"{middle:,.{digits}f} ({low:,.{digits}f} to {high:,.{digits}f})"


def grid(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table under its title; without the arms, or at all, where nothing was measured."""
    rows = [row for row in rows if set(row[1:]) - {"-", "none"}]
    if not rows:
        return ""
    lines = [f"## {title}\n", "| | " + " | ".join(columns) + " |", "|---|" + "---:|" * len(columns)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([*lines, ""])
