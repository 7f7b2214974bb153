"""Line charts as inline SVG: no library, no network, readable in light and dark."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise

HEIGHT = 250
LEFT, RIGHT, TOP, BOTTOM = 62, 14, 12, 42
MAX_POINTS = 1200

Point = tuple[float, float]


@dataclass(frozen=True)
class Series:
    """A named line; `style` is its CSS class. A y that is not finite is a gap."""

    name: str
    points: Sequence[Point]
    style: str = "train"


def line_chart(
    title: str,
    x_label: str,
    y_label: str,
    series: Sequence[Series],
    *,
    from_zero: bool = False,
    width: int = 560,
) -> str:
    """A figure with axes, a legend and the values of the nearest point under the pointer.

    `from_zero` starts the y axis at 0, for quantities whose small changes should look small.
    """
    heading = f"<figcaption>{escape(title)} <span>{escape(y_label)}</span></figcaption>"
    drawn = [Series(s.name, thin(s.points), s.style) for s in series if _finite(s.points)]
    if not drawn:
        return f'<figure>{heading}<p class="empty">no values were logged</p></figure>'
    xs, ys = zip(*(point for s in drawn for point in _finite(s.points)), strict=True)
    x_ticks = ticks(min(xs), max(xs), inside=True)
    y_ticks = ticks(min(0, *ys) if from_zero else min(ys), max(ys))
    base, right = HEIGHT - BOTTOM, width - RIGHT

    def place(point: Point) -> Point:
        across = (point[0] - min(xs)) / ((max(xs) - min(xs)) or 1)
        up = (point[1] - y_ticks[0]) / (y_ticks[-1] - y_ticks[0])
        return round(LEFT + across * (right - LEFT), 1), round(base - up * (base - TOP), 1)

    parts = []
    for value, label in zip(y_ticks, tick_labels(y_ticks), strict=True):
        y = place((xs[0], value))[1]
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{right}" y1="{y}" y2="{y}"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4}" text-anchor="end">{label}</text>')
    for value, label in zip(x_ticks, tick_labels(x_ticks), strict=True):
        x = place((value, 0))[0]
        parts.append(f'<line class="axis" x1="{x}" x2="{x}" y1="{base}" y2="{base + 4}"/>')
        parts.append(f'<text x="{x}" y="{base + 18}" text-anchor="middle">{label}</text>')
    parts += [
        f'<line class="axis" x1="{LEFT}" x2="{right}" y1="{base}" y2="{base}"/>',
        f'<text class="label" x="{(LEFT + right) / 2}" y="{HEIGHT - 5}" text-anchor="middle">'
        f"{escape(x_label)}</text>",
        *(_line(s, [place(p) if math.isfinite(p[1]) else None for p in s.points]) for s in drawn),
        f'<line class="pointer" y1="{TOP}" y2="{base}" visibility="hidden"/>',
    ]
    # what the pointer shows: [name, [[x in the drawing, step, value], ...]]
    hover = [[s.name, [[place(p)[0], p[0], p[1]] for p in _finite(s.points)]] for s in drawn]
    keys = "".join(f'<li class="{s.style}">{escape(s.name)}</li>' for s in drawn)
    legend = f'<ul class="legend">{keys}</ul>' if len(drawn) > 1 else ""
    label = escape(f"{title} over {x_label}")
    return (
        f'<figure>{heading}{legend}<svg viewBox="0 0 {width} {HEIGHT}" role="img" '
        f'aria-label="{label}" data-hover="{escape(json.dumps(hover))}">{"".join(parts)}</svg>'
        '<output aria-hidden="true"></output></figure>'
    )


def thin(points: Sequence[Point]) -> list[Point]:
    """At most MAX_POINTS points; the lowest and highest of each stretch stay, so spikes do."""
    if len(points) <= MAX_POINTS:
        return list(points)
    size = math.ceil(len(points) / (MAX_POINTS // 2))
    kept: list[Point] = []
    for start in range(0, len(points), size):
        stretch = points[start : start + size]
        finite = _finite(stretch) or stretch
        kept += sorted({min(finite, key=lambda p: p[1]), max(finite, key=lambda p: p[1])})
    return kept


def ticks(low: float, high: float, *, inside: bool = False) -> list[float]:
    """A few round values: from below `low` to above `high`, or whole numbers inside them."""
    if high - low <= 1e-9 * max(abs(low), abs(high)):  # equal, but for the last bits
        if inside:
            return [low]
        low, high = low - (abs(low) / 2 or 0.5), high + (abs(high) / 2 or 0.5)
    rough = (high - low) / 4
    magnitude = 10.0 ** math.floor(math.log10(rough))
    step = next(m for m in (1, 2, 2.5, 5, 10) if m * magnitude >= rough * 0.999) * magnitude
    if inside:
        step = max(1.0, float(round(step)))
        return [n * step for n in range(math.ceil(low / step), math.floor(high / step) + 1)]
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    # the rounding takes back the last bits that the multiplication lost
    return [float(f"{n * step:.12g}") for n in range(first, last + 1)]


def tick_labels(values: Sequence[float]) -> list[str]:
    """Labels with just the digits that tell neighbours apart; powers of ten where tiny or huge."""
    largest = max(abs(v) for v in values) or 1.0
    if largest < 1e-3 or largest >= 1e6:
        exponent = math.floor(math.log10(largest))
        scaled = [v / 10.0**exponent for v in values]
        labels = [f"{text}e{exponent}" for text in tick_labels(scaled)]
        return ["0" if v == 0 else label for v, label in zip(values, labels, strict=True)]
    gap = min((b - a for a, b in pairwise(values)), default=largest)
    decimals = next((d for d in range(6) if abs(gap * 10**d - round(gap * 10**d)) < 1e-6), 6)
    return [f"{v:,.{decimals}f}" for v in values]


def _finite(points: Sequence[Point]) -> list[Point]:
    return [point for point in points if math.isfinite(point[1])]


def _line(series: Series, places: Sequence[Point | None]) -> str:
    """A path that is broken at gaps, with dots where there are few points."""
    commands, after_gap = [], True
    for place in places:
        if place is not None:
            commands.append(f"{'M' if after_gap else 'L'}{place[0]} {place[1]}")
        after_gap = place is None
    path = f'<path class="{series.style}" d="{" ".join(commands)}"/>'
    if len(places) > 40:
        return path
    dots = (
        f'<circle class="{series.style}" cx="{p[0]}" cy="{p[1]}" r="2.6"/>' for p in places if p
    )
    return path + "".join(dots)
