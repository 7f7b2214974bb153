"""Line charts as inline SVG: no library, no network, readable in light and dark."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 560, 250
LEFT, RIGHT, TOP, BOTTOM = 62, 14, 12, 42
MAX_POINTS = 1200

Point = tuple[float, float]


@dataclass(frozen=True)
class Series:
    """A named line; `style` is its CSS class. A y that is not finite is a gap."""

    name: str
    points: Sequence[Point]
    style: str = "train"


def line_chart(title: str, x_label: str, y_label: str, series: Sequence[Series]) -> str:
    """A figure with axes, a legend and the values of the nearest point under the pointer."""
    drawn = [Series(s.name, thin(s.points), s.style) for s in series if _finite(s.points)]
    heading = f"<figcaption>{escape(title)} <span>{escape(y_label)}</span></figcaption>"
    if not drawn:
        return f'<figure>{heading}<p class="empty">no values were logged</p></figure>'
    every = [point for s in drawn for point in _finite(s.points)]
    x_ticks = ticks(min(x for x, _ in every), max(x for x, _ in every), whole=True)
    y_ticks = ticks(min(y for _, y in every), max(y for _, y in every))
    x_low, x_high = min(x for x, _ in every), max(max(x for x, _ in every), x_ticks[-1])
    x_low = min(x_low, x_ticks[0])
    y_low, y_high = y_ticks[0], y_ticks[-1]

    def place(point: Point) -> Point:
        x = LEFT + (point[0] - x_low) / ((x_high - x_low) or 1) * (WIDTH - LEFT - RIGHT)
        y = HEIGHT - BOTTOM - (point[1] - y_low) / ((y_high - y_low) or 1) * (HEIGHT - TOP - BOTTOM)
        return round(x, 1), round(y, 1)

    parts = []
    for value, label in zip(y_ticks, tick_labels(y_ticks), strict=True):
        y = place((x_low, value))[1]
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4}" text-anchor="end">{label}</text>')
    base = HEIGHT - BOTTOM
    for value, label in zip(x_ticks, tick_labels(x_ticks), strict=True):
        x = place((value, y_low))[0]
        parts.append(f'<line class="axis" x1="{x}" x2="{x}" y1="{base}" y2="{base + 4}"/>')
        parts.append(f'<text x="{x}" y="{base + 18}" text-anchor="middle">{label}</text>')
    parts.append(f'<line class="axis" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{base}" y2="{base}"/>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(
        f'<text class="label" x="{middle}" y="{HEIGHT - 5}" text-anchor="middle">'
        f"{escape(x_label)}</text>"
    )
    parts += [
        _line(s, [place(p) if math.isfinite(p[1]) else None for p in s.points]) for s in drawn
    ]
    # what the pointer shows: [name, [[x in the drawing, step, value], …]]
    hover = [[s.name, [[place(p)[0], p[0], p[1]] for p in _finite(s.points)]] for s in drawn]
    legend = ""
    if len(drawn) > 1:
        keys = "".join(f'<li class="{s.style}">{escape(s.name)}</li>' for s in drawn)
        legend = f'<ul class="legend">{keys}</ul>'
    return (
        f"<figure>{heading}{legend}"
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{escape(f"{title} over {x_label}")}" data-hover="{escape(json.dumps(hover))}">'
        f"{''.join(parts)}"
        f'<line class="pointer" y1="{TOP}" y2="{base}" visibility="hidden"/></svg>'
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


def ticks(low: float, high: float, whole: bool = False) -> list[float]:
    """Three to seven round values that span low to high (inside it when `whole`)."""
    if low == high:
        low, high = low - (abs(low) / 2 or 0.5), high + (abs(high) / 2 or 0.5)
        if whole:
            return [(low + high) / 2]
    rough = (high - low) / 4
    magnitude = 10.0 ** math.floor(math.log10(rough))
    step = next(m for m in (1, 2, 2.5, 5, 10) if m * magnitude >= rough * 0.999) * magnitude
    if whole:
        step = max(1.0, float(round(step)))
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    else:
        first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [n * step for n in range(first, last + 1)] or [low]


def tick_labels(values: Sequence[float]) -> list[str]:
    """Labels with just the digits that tell neighbours apart; powers of ten where tiny or huge."""
    largest = max(abs(v) for v in values) or 1.0
    if largest < 1e-3 or largest >= 1e6:
        exponent = math.floor(math.log10(largest))
        scaled = [v / 10.0**exponent for v in values]
        labels = [f"{text}e{exponent}" for text in tick_labels(scaled)]
        return ["0" if v == 0 else label for v, label in zip(values, labels, strict=True)]
    gap = min((b - a for a, b in zip(values, values[1:], strict=False)), default=largest)
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
