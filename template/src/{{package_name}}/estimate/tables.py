"""The tables of GPUs and prices, and what they hold. Each row names its source."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass


class EstimateError(ValueError):
    """No estimate is possible; the text says which value is missing or unknown."""


@dataclass(frozen=True)
class Gpu:
    """Memory that PyTorch can use, and dense 16-bit rates (no bf16 before Ampere)."""

    name: str
    memory_gib: float
    bf16_tflops: float | None
    fp16_tflops: float
    bandwidth_gbps: float
    compute_capability: tuple[int, int]
    watts: int


@dataclass(frozen=True)
class Range:
    """A low and a high estimate of one quantity."""

    low: float
    high: float


@dataclass(frozen=True)
class Price:
    """What a machine costs on demand; `as_of` is an ISO date or says that there is none."""

    provider: str
    instance: str
    gpu_count: int
    usd_per_hour: float
    as_of: str


@functools.cache
def rows(table: str) -> list[dict[str, str]]:
    """The rows of `tables/<table>.csv`."""
    import csv  # these two are a quarter of this file's import time
    from pathlib import Path

    path = Path(__file__).with_name("tables") / f"{table}.csv"
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@functools.cache
def gpus() -> dict[str, Gpu]:
    """The GPUs of the table by name."""
    found = {}
    for row in rows("gpus"):
        major, minor = row["compute_capability"].split(".")
        found[row["name"]] = Gpu(
            name=row["name"],
            memory_gib=float(row["memory_gib"]),
            bf16_tflops=float(row["bf16_tflops"]) if row["bf16_tflops"] else None,
            fp16_tflops=float(row["fp16_tflops"]),
            bandwidth_gbps=float(row["bandwidth_gbps"]),
            compute_capability=(int(major), int(minor)),
            watts=int(row["watts"]),
        )
    return found


def find_gpu(name: str) -> Gpu:
    """The GPU of that name or nvidia-smi product name. Raises EstimateError."""
    for row in rows("gpus"):
        spellings = [row["name"], *row["nvidia_smi_names"].split(";")]
        if _normal(name) in map(_normal, spellings):
            return gpus()[row["name"]]
    raise EstimateError(f"GPU {name!r} is not in the table; {suggest(name, gpus())}")


def prices(gpu_name: str) -> list[Price]:
    """On-demand prices of machines with that GPU."""
    keys = ("provider", "instance", "gpu_count", "usd_per_hour", "as_of")
    found = [[row[key] for key in keys] for row in rows("prices") if row["gpu"] == gpu_name]
    return [Price(p, i, int(count), float(usd), date) for p, i, count, usd, date in found]


def _normal(name: str) -> str:
    letters = "".join(c for c in name.lower() if c.isalnum())
    for maker in ("nvidia", "geforce", "tesla"):
        letters = letters.removeprefix(maker)
    return letters


def suggest(name: str, known: Mapping[str, object]) -> str:
    """The end of a sentence about an unknown name: near ones, or all."""
    import difflib  # needed for a misspelt name only

    by_lower = {key.lower(): key for key in known}
    close = difflib.get_close_matches(name.lower(), by_lower, n=3, cutoff=0.4)
    if close:
        return "did you mean " + " or ".join(by_lower[key] for key in close) + "?"
    return "known are " + ", ".join(known)
