"""Tables, bars and texts for people to read on a terminal, with colour or without."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

BAR_WIDTH = 24
BINS = 10
# controls, which could steer the terminal; half surrogate pairs; what has no meaning
UNSAFE = {"Cc", "Cf", "Cs", "Co", "Cn"}


def plain(text: str) -> Text:
    """Text of the data: no markup, and nothing that steers the terminal."""
    return Text(visible(text))


def visible(text: str) -> str:
    r"""`text` with control characters but the line break as their codes, such as `\x1b`."""
    return "".join(
        c if c == "\n" or unicodedata.category(c) not in UNSAFE else ascii(c)[1:-1] for c in text
    )


def heading(console: Console, words: str) -> None:
    """A line above what belongs together."""
    console.print()
    console.print(plain(words), style="bold", soft_wrap=True)


def facts(console: Console, values: Mapping[str, str], style: str = "") -> None:
    """`name  value` lines."""
    for name, value in values.items():
        console.print(plain(f"{name:<26} {value}"), style=style, soft_wrap=True)


def bars(
    console: Console, name: str, columns: Sequence[str], rows: Sequence[tuple[str, Sequence[int]]]
) -> None:
    """A table of counts; the bars are of the first column."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column(name, overflow="ellipsis", no_wrap=True, max_width=24)
    for column in (*columns, ""):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    most = max((counts[0] for _, counts in rows), default=0)
    total = sum(counts[0] for _, counts in rows)
    for label, counts in rows:
        share = f"{counts[0] / total:.1%}" if total else ""
        bar = Text(_bar(console, counts[0], most), style="green")
        table.add_row(plain(label), *(f"{count:,}" for count in counts), share, bar)
    console.print(table)


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Columns of text, one line a row, however wide the terminal is; the first row heads them."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)
    return visible("\n".join(lines))


def with_age(moment: str, now: datetime | None = None) -> str:
    """A moment in ISO's form as `2026-01-31 12:00 UTC, 3 days ago`; what is none is kept."""
    try:
        then = datetime.fromisoformat(moment).astimezone(UTC)
    except ValueError:
        return moment
    seconds = max(0.0, ((now or datetime.now(UTC)) - then).total_seconds())
    units = (("day", 86400), ("hour", 3600), ("minute", 60))
    unit, length = next(((u, n) for u, n in units if seconds >= n), ("second", 1))
    count = int(seconds // length)
    return f"{then:%Y-%m-%d %H:%M} UTC, {count} {unit}{'' if count == 1 else 's'} ago"


def histogram(console: Console, name: str, values: np.ndarray) -> None:
    """Minimum, median, 95th percentile and maximum, and how the values are spread."""
    if not len(values):
        return
    low, median, p95, high = np.percentile(values, [0, 50, 95, 100])
    whole = np.issubdtype(values.dtype, np.integer)
    spread = f"{_number(low)} to {_number(high)}, median {_number(median)}"
    heading(console, f"{name}: {spread}, 95 % up to {_number(p95)}")
    if low == high:
        return
    edges = np.linspace(low, high + (1 if whole else 0), BINS + 1)
    if whole:
        edges = np.unique(np.ceil(edges))
    counts, _ = np.histogram(values, edges)
    ends = edges[1:] - 1 if whole else edges[1:]
    rows = [
        (f"{_number(start)} to {_number(end)}" if end > start else _number(start), [int(count)])
        for start, end, count in zip(edges, ends, counts, strict=False)
    ]
    bars(console, "", [""], rows)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == round(value) or value >= 1000 else f"{value:.3g}"


def _bar(console: Console, count: int, most: int) -> str:
    width = round(BAR_WIDTH * count / most) if most else 0
    sign = "#" if console.options.ascii_only else "█"
    return sign * max(width, 1 if count else 0)
