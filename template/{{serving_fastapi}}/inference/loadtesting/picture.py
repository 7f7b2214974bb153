"""Latency against load, with the knee, as an SVG file that stands alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from ..project import tick_labels, ticks
from .results import Level

WIDTH, HEIGHT = 720, 400
LEFT, RIGHT, TOP, BOTTOM = 70, 24, 48, 52
LINES = (("p50_ms", "p50", "#2563eb"), ("p95_ms", "p95", "#c2570c"), ("p99_ms", "p99", "#9333ea"))
STYLE = """
text { font: 12px system-ui, sans-serif; fill: #5c6773; } .title { font-size: 15px; fill: #1a2027; }
.paper { fill: #fff; } .grid { stroke: #e3e7eb; } .knee { stroke: #15803d; stroke-dasharray: 5 4; }
.knee-text { fill: #15803d; } polyline { fill: none; stroke-width: 2; stroke-linejoin: round; }
@media (prefers-color-scheme: dark) { .paper { fill: #11151a; } text { fill: #98a3af; }
  .title { fill: #e6e9ed; } .grid { stroke: #2a323b; } }
"""


def draw(levels: Sequence[Level], knee: Level | None, title: str) -> str:
    """The SVG's text; the levels are those of one loop, and the y axis is logarithmic."""
    shown = [(rate(one), one) for one in levels if one.p50_ms and one.p99_ms]
    if not shown:
        return _page([f'<text x="{LEFT}" y="{TOP}">nothing was answered</text>'], title)
    most = max(x for x, _ in shown)
    values = [getattr(one, key) for _, one in shown for key, _, _ in LINES]
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    high = max(high, low + 1)
    base, right = HEIGHT - BOTTOM, WIDTH - RIGHT

    def place(x: float, y: float) -> tuple[float, float]:
        up = (math.log10(y) - low) / (high - low)
        return round(LEFT + x / most * (right - LEFT), 1), round(base - up * (base - TOP), 1)

    parts = []
    for decade in range(low, high + 1):
        for digit in (1, 2, 5) if decade < high else (1,):
            y = place(0, digit * 10.0**decade)[1]
            parts.append(f'<line class="grid" x1="{LEFT}" x2="{right}" y1="{y}" y2="{y}"/>')
            label = f"{digit * 10.0**decade:g}"
            parts.append(f'<text x="{LEFT - 8}" y="{y + 4}" text-anchor="end">{label}</text>')
    marks = [x for x in ticks(0, most) if x <= most]
    for x, label in zip(marks, tick_labels(marks), strict=True):
        across = place(x, 10.0**low)[0]
        parts.append(f'<text x="{across}" y="{base + 18}" text-anchor="middle">{label}</text>')
    open_loop = shown[0][1].loop == "open"
    axis = "requests due per second" if open_loop else "answers per second"
    middle = (LEFT + right) / 2
    parts.append(f'<text x="{middle}" y="{HEIGHT - 12}" text-anchor="middle">{axis}</text>')
    parts.append(f'<text x="{LEFT - 8}" y="{TOP - 12}" text-anchor="end">ms</text>')
    for number, (key, name, colour) in enumerate(LINES):
        places = [place(x, getattr(one, key)) for x, one in shown]
        path = " ".join(f"{x},{y}" for x, y in places)
        parts.append(f'<polyline points="{path}" stroke="{colour}"/>')
        parts += [f'<circle cx="{x}" cy="{y}" r="3" fill="{colour}"/>' for x, y in places]
        at = right - 44 * (len(LINES) - number)
        parts.append(f'<text x="{at}" y="24" style="fill:{colour}">● {name}</text>')
    if knee is not None:
        x = place(rate(knee), 10.0**low)[0]
        side = "end" if x > middle else "start"
        parts.append(f'<line class="knee" x1="{x}" x2="{x}" y1="{TOP}" y2="{base}"/>')
        parts.append(
            f'<text class="knee-text" x="{x + (-6 if side == "end" else 6)}" y="{TOP + 12}" '
            f'text-anchor="{side}">knee: {rate(knee):.0f} per s</text>'
        )
    return _page(parts, title)


def rate(one: Level) -> float:
    """What the x axis shows."""
    return one.load if one.loop == "open" else one.answered_rps


def _page(parts: Sequence[str], title: str) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="Latency against load">\n<style>{STYLE}</style>\n'
        f'<rect class="paper" width="{WIDTH}" height="{HEIGHT}"/>\n'
        f'<text class="title" x="{LEFT}" y="24">{escape(title)}</text>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )
