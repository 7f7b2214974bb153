"""What the records say: one `Level` for each load, the knee, and what a load costs."""

from __future__ import annotations

import math
import textwrap
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from .traffic import Observed

KNEE_FACTOR = 3.0
KNEE_SHARE = 0.99
HEADROOM = 0.3


@dataclass(frozen=True)
class Level:
    """The service under one load. Rates are per second, times in milliseconds."""

    loop: str
    """`closed`, or `open`."""
    load: float
    """Clients of the closed loop; requests per second that were due in the open one."""
    offered_rps: float
    answered_rps: float
    goodput_rps: float
    """Answered within the deadline."""
    good_share: float
    """Of the requests whose client stayed."""
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    max_ms: float | None
    errors: dict[str, int]
    """By code; requests, not per second."""
    refused_p99_ms: float | None
    """How long those waited who got 429 or 503."""
    left: int
    """Requests whose client left before the answer."""
    health_p99_ms: float | None
    client_late_p99_ms: float
    """How late the client itself sent: much of it, and the client was what was measured."""
    first_token_p50_ms: float | None = None
    first_token_p99_ms: float | None = None
    tokens_per_s: float | None = None


def level(observed: Observed, loop: str, load: float, deadline: float) -> Level:
    """Sum up one load. Rates count what ended in the measured time, latencies what began in it."""
    seconds = observed.until - observed.begun
    begun = [r for r in observed.records if observed.begun <= r.due < observed.until]
    ended = [r for r in observed.records if observed.begun <= r.ended < observed.until]
    answered = [r for r in ended if r.code == "200"]
    latencies = [r.latency for r in begun if r.code == "200"]
    stayed = [r for r in begun if r.code != "left"]
    good = sum(r.code == "200" and r.latency <= deadline for r in stayed)
    refused = [r.latency for r in begun if r.code[:3] in ("429", "503")]
    first = [r.first_token for r in begun if r.first_token is not None]
    tokens = sum(r.tokens for r in answered)
    return Level(
        loop=loop,
        load=load,
        offered_rps=len(begun) / seconds,
        answered_rps=len(answered) / seconds,
        goodput_rps=sum(r.latency <= deadline for r in answered) / seconds,
        good_share=good / len(stayed) if stayed else 0.0,
        p50_ms=percentile_ms(latencies, 0.5),
        p95_ms=percentile_ms(latencies, 0.95),
        p99_ms=percentile_ms(latencies, 0.99),
        max_ms=percentile_ms(latencies, 1.0),
        errors=dict(Counter(r.code for r in begun if r.code not in ("200", "left"))),
        refused_p99_ms=percentile_ms(refused, 0.99),
        left=sum(r.code == "left" for r in begun),
        health_p99_ms=percentile_ms(observed.health, 0.99),
        client_late_p99_ms=percentile_ms([r.late for r in begun], 0.99) or 0.0,
        first_token_p50_ms=percentile_ms(first, 0.5),
        first_token_p99_ms=percentile_ms(first, 0.99),
        tokens_per_s=tokens / seconds if tokens else None,
    )


def percentile_ms(seconds: Sequence[float], share: float) -> float | None:
    """The smallest value that at least `share` of all do not exceed, in milliseconds."""
    if not seconds:
        return None
    value = sorted(seconds)[max(0, math.ceil(share * len(seconds)) - 1)]
    return value * 1000 if math.isfinite(value) else None


def knee(levels: Sequence[Level]) -> Level | None:
    """The last load that the service carries well, among rising loads of one loop.

    Carried well is: 99 % answered within the deadline, at a p95 of at most three times that of the
    lightest load. Of closed loops, the load is the answers per second.
    """
    if not levels or levels[0].p95_ms is None:
        return None
    calm, last = levels[0].p95_ms, None
    for one in levels:
        if not _carried(one, calm):
            break
        last = one
    return last


def doubtful(levels: Sequence[Level]) -> list[Level]:
    """Of rising loads those that failed below one that was carried: perhaps by chance."""
    if not levels or levels[0].p95_ms is None:
        return []
    well = [_carried(one, levels[0].p95_ms) for one in levels]
    return [one for n, one in enumerate(levels) if not well[n] and any(well[n:])]


def _carried(one: Level, calm_p95_ms: float) -> bool:
    slow = (one.p95_ms or math.inf) > KNEE_FACTOR * calm_p95_ms
    return one.good_share >= KNEE_SHARE and not slow


@dataclass(frozen=True)
class Cost:
    """How many replicas a load needs, each kept below the knee, and their price."""

    planned_rps: float
    """Of one replica: the knee less the headroom; the autoscaler's target."""
    replicas: int | None
    dollars_per_million: float | None


def cost(
    knee_rps: float, target_rps: float | None, dollars_per_hour: float | None, headroom: float
) -> Cost:
    """Replicas for `target_rps`, and dollars per million requests at that load or when full."""
    planned = knee_rps * (1 - headroom)
    replicas = math.ceil(target_rps / planned) if target_rps else None
    dollars = None
    if dollars_per_hour is not None:
        rate = target_rps or planned
        dollars = (replicas or 1) * dollars_per_hour / (rate * 3600) * 1e6
    return Cost(planned, replicas, dollars)


COLUMNS = (
    ("load", 14),
    ("offered/s", 10),
    ("answered/s", 11),
    ("goodput/s", 10),
    ("p50 ms", 8),
    ("p95 ms", 8),
    ("p99 ms", 8),
    ("health p99 ms", 15),
)
STREAM_COLUMNS = (("1st token p50", 14), ("p99 ms", 8), ("tokens/s", 9))


def heading(streams: bool) -> str:
    """The table's first line."""
    columns = (*COLUMNS, *(STREAM_COLUMNS if streams else ()))
    return "".join(f"{name:>{width}}" for name, width in columns) + "  not answered"


def legend(deadline_seconds: float, streams: bool) -> str:
    """What the columns are, printed below the table."""
    text = (
        "load: clients that each wait for their answer, or requests sent per second whatever is "
        "answered; offered/s: requests that began; answered/s: with 200; goodput/s: of these "
        f"within {deadline_seconds:g} s; p50, p95, p99 ms: what 50, 95, 99 % of the answers took "
        "at most; health p99 ms: of /healthz under this load; not answered: requests by status, "
        "or `left` by their client"
    )
    if streams:
        text += "; 1st token p50 and p99 ms: from the request to the first word; tokens/s: written"
    return textwrap.fill(text, 100)


def line(one: Level, streams: bool) -> str:
    """The table's line of one load."""
    unit = "clients" if one.loop == "closed" else "per s"
    values: list[Any] = [f"{one.load:g} {unit}", one.offered_rps, one.answered_rps]
    values += [one.goodput_rps, one.p50_ms, one.p95_ms, one.p99_ms, one.health_p99_ms]
    if streams:
        values += [one.first_token_p50_ms, one.first_token_p99_ms, one.tokens_per_s]
    columns = (*COLUMNS, *(STREAM_COLUMNS if streams else ()))
    cells = [f"{_text(v):>{width}}" for v, (_, width) in zip(values, columns, strict=True)]
    not_answered = dict(one.errors) | ({"left": one.left} if one.left else {})
    counts = [f"{code}: {count}" for code, count in sorted(not_answered.items())]
    return "".join(cells) + "  " + (", ".join(counts) or "-")


def _text(value: Any) -> str:
    if value is None:
        return "-"
    return value if isinstance(value, str) else f"{value:.1f}"


def as_json(levels: Sequence[Level]) -> list[dict[str, Any]]:
    """The levels, for a file."""
    return [asdict(one) for one in levels]
