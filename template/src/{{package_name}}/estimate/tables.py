"""The tables of GPUs and prices, and what they hold. Each row names its source."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

OLD_PRICE_DAYS = 90
PER_GPU = ("modal",)  # sells any number of GPUs in one container; its rows are of one
SERVING_ONLY = ("hf-inference-endpoints",)  # machines that serve a model and cannot train one


class EstimateError(ValueError):
    """No estimate is possible; the text says which value is missing or unknown."""


@dataclass(frozen=True)
class Gpu:
    """Memory that PyTorch can use, and dense rates (no bf16 before Ampere)."""

    name: str
    memory_gib: float
    bf16_tflops: float | None
    fp16_tflops: float
    bandwidth_gbps: float
    compute_capability: tuple[int, int]
    watts: int
    fp32_tflops: float = 0.0  # without TF32, as PyTorch multiplies fp32 matrices by default


@dataclass(frozen=True)
class Range:
    """A low and a high estimate of one quantity."""

    low: float
    high: float

    def __mul__(self, factor: float) -> Range:
        return Range(self.low * factor, self.high * factor)


class Price(NamedTuple):
    """What a machine costs an hour; `as_of` is an ISO date or says that there is none."""

    provider: str
    instance: str
    gpu_count: int
    usd_per_hour: float
    as_of: str
    spot_usd_per_hour: float | None = None
    note: str = ""
    yours: bool = False  # from the user's own file

    @property
    def stale(self) -> bool:
        """Known to be wrong by now."""
        return self.as_of.startswith("stale")

    @property
    def old(self) -> bool:
        """Older than OLD_PRICE_DAYS, or without a date."""
        from datetime import date

        try:
            return (date.today() - date.fromisoformat(self.as_of)).days > OLD_PRICE_DAYS
        except ValueError:
            return True


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
            fp32_tflops=float(row["fp32_tflops"]),
        )
    return found


def find_gpu(name: str) -> Gpu:
    """The GPU of that name or nvidia-smi product name. Raises EstimateError."""
    found = _gpus_by_spelling().get(_normal(name))
    if found is None:
        raise EstimateError(f"GPU {name[:60]!r} is not in the table; {suggest(name, gpus())}")
    return found


@functools.cache
def _gpus_by_spelling() -> dict[str, Gpu]:
    return {
        _normal(spelling): gpus()[row["name"]]
        for row in rows("gpus")
        for spelling in (row["name"], *row["nvidia_smi_names"].split(";"))
    }


def prices(gpu_name: str, overrides: Path | None = None) -> list[Price]:
    """Prices of machines with that GPU; a row of the file `overrides` replaces the table's.

    Raises EstimateError for a file with holes.
    """
    found = {}
    for row in rows("prices"):
        if row["gpu"] == gpu_name:
            spot = row["spot_usd_per_hour"]
            found[row["provider"], row["instance"]] = Price(
                provider=row["provider"],
                instance=row["instance"],
                gpu_count=int(row["gpu_count"]),
                usd_per_hour=float(row["usd_per_hour"]),
                as_of=row["as_of"],
                spot_usd_per_hour=float(spot) if spot else None,
                note=row["note"],
            )
    for gpu, price in own_prices(overrides) if overrides else ():
        if gpu == gpu_name:
            found[price.provider, price.instance] = price
    return list(found.values())


_OWN_COLUMNS = "provider,instance,gpu,gpu_count,usd_per_hour,spot_usd_per_hour,as_of"


def own_prices(path: Path) -> list[tuple[str, Price]]:
    """(GPU, price) of each line in a user's CSV file of prices. Raises EstimateError.

    Every column but spot_usd_per_hour must be filled: a price without a date or a count
    would be a guess.
    """
    import csv

    columns = _OWN_COLUMNS.split(",")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = csv.reader(file)
            header = [name.strip() for name in next(lines, [])]
            missing = [name for name in columns if name not in header]
            if missing:
                raise EstimateError(
                    f"{path}, line 1: column {missing[0]} is missing; the columns are "
                    + _OWN_COLUMNS
                )
            found = []
            for values in lines:
                if any(value.strip() for value in values):
                    where = f"{path}, line {lines.line_num}"
                    if len(values) != len(header):
                        raise EstimateError(
                            f"{where}: {len(values)} values for {len(header)} columns; write one "
                            "value a column, and nothing between two commas where there is none"
                        )
                    row = dict(zip(header, (value.strip() for value in values), strict=True))
                    found.append(own_price(row, where))
            return found
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or "it is not CSV in UTF-8"
        raise EstimateError(f"{path} cannot be read: {reason}") from None


def own_price(row: Mapping[str, str], where: str) -> tuple[str, Price]:
    """(GPU, price) of a row of a user, named by `where`. Raises EstimateError."""
    import re
    from datetime import date, timedelta

    for column in ("provider", "instance", "gpu", "gpu_count", "usd_per_hour", "as_of"):
        if not row[column]:
            raise EstimateError(f"{where}: column {column} is empty; fill it in")
    try:
        day = date.fromisoformat(row["as_of"])
    except ValueError:
        day = None
    if day is None or day.isoformat() != row["as_of"]:
        raise EstimateError(
            f"{where}: column as_of is {row['as_of']!r:.40}; write the day as 2026-01-31"
        )
    if day > date.today() + timedelta(days=1):  # it is tomorrow elsewhere
        raise EstimateError(
            f"{where}: column as_of is {row['as_of']}, which is to come; write the day on which "
            "the price was seen"
        )
    count = row["gpu_count"]
    if not re.fullmatch("[1-9][0-9]{0,3}", count):
        raise EstimateError(
            f"{where}: column gpu_count is {count!r:.40}; write the number of GPUs in the machine"
        )
    try:
        gpu = find_gpu(row["gpu"]).name
    except EstimateError as error:
        raise EstimateError(f"{where}: column gpu: {error}") from None
    spot = row["spot_usd_per_hour"]
    price = Price(
        provider=row["provider"],
        instance=row["instance"],
        gpu_count=int(count),
        usd_per_hour=_dollars(row["usd_per_hour"], f"{where}: column usd_per_hour"),
        as_of=row["as_of"],
        spot_usd_per_hour=_dollars(spot, f"{where}: column spot_usd_per_hour") if spot else None,
        yours=True,
    )
    return gpu, price


def _dollars(text: str, where: str) -> float:
    try:
        usd = float(text)
    except ValueError:
        usd = -1.0
    if not 0 <= usd < 1e6:
        raise EstimateError(f"{where} is {text!r:.40}; write dollars an hour, such as 1.25")
    return usd


class Quote(NamedTuple):
    """What a provider asks for so many GPUs: `machines` times one instance, in USD an hour."""

    provider: str
    instance: str
    machines: int
    idle_gpus: int
    """Paid for and not used: the provider has no smaller machine."""
    usd_per_hour: float
    spot_usd_per_hour: float | None
    as_of: str
    old: bool
    stale: bool
    note: str = ""
    yours: bool = False


def quotes(
    gpu_name: str, count: int = 1, overrides: Path | None = None, serving: bool = False
) -> list[Quote]:
    """The cheapest machine of each provider that holds `count` GPUs, cheapest provider first.

    GPUs must sit in one machine, so idle ones of a larger machine are paid for; beyond the
    largest machine there are several of it, if it has several GPUs. `serving`: with what only
    serves models. Raises EstimateError.
    """
    if count < 1:
        raise EstimateError(f"the number of GPUs is {count}; give 1 or more")
    by_provider: dict[str, list[Price]] = {}
    for price in prices(find_gpu(gpu_name).name, overrides):
        if serving or price.provider not in SERVING_ONLY:
            by_provider.setdefault(price.provider, []).append(price)
    found = [
        _cheapest(offers, count)
        for provider, offers in by_provider.items()
        if count == 1 or provider in PER_GPU or max(offer.gpu_count for offer in offers) > 1
    ]
    return sorted(found, key=lambda quote: (quote.stale, quote.usd_per_hour))


def _cheapest(offers: Sequence[Price], count: int) -> Quote:
    largest = max(offer.gpu_count for offer in offers)
    whole = [offer for offer in offers if offer.gpu_count >= min(count, largest)]
    candidates = [_quote(offer, count) for offer in whole]
    best = min(candidates, key=lambda quote: (quote.stale, quote.usd_per_hour))
    spots = [quote for quote in candidates if quote.spot_usd_per_hour is not None]
    spots = [quote for quote in spots if quote.idle_gpus <= best.idle_gpus]
    if best.spot_usd_per_hour is None and spots:  # of a sister machine
        spot = min(spots, key=lambda quote: quote.spot_usd_per_hour or 0.0)
        best = best._replace(
            spot_usd_per_hour=spot.spot_usd_per_hour,
            note="; ".join(filter(None, (best.note, f"spot is of {spot.instance}"))),
        )
    return best


def _quote(price: Price, count: int) -> Quote:
    machines = -(-count // price.gpu_count)
    spot = price.spot_usd_per_hour
    return Quote(
        provider=price.provider,
        instance=price.instance,
        machines=machines,
        idle_gpus=machines * price.gpu_count - count,
        usd_per_hour=price.usd_per_hour * machines,
        spot_usd_per_hour=None if spot is None else spot * machines,
        as_of=price.as_of,
        old=price.old,
        stale=price.stale,
        note=price.note,
        yours=price.yours,
    )


def _normal(name: str) -> str:
    letters = "".join(c for c in name.lower() if c.isalnum())
    for maker in ("nvidia", "geforce", "tesla"):
        letters = letters.removeprefix(maker)
    return letters


def suggest(name: str, known: Mapping[str, object]) -> str:
    """The end of a sentence about an unknown name: near ones, or all."""
    import difflib  # needed for a misspelt name only

    by_lower = {key.lower(): key for key in known}
    asked = name[:200].lower()
    longer = [key for key in by_lower if asked and key.startswith(asked)][:3]
    close = longer or difflib.get_close_matches(asked, by_lower, n=3, cutoff=0.4)
    if close:
        return "did you mean " + " or ".join(by_lower[key] for key in close) + "?"
    some = list(known)[:20]
    more = f" and {len(known) - len(some)} more" if len(known) > len(some) else ""
    return "known are " + ", ".join(some) + more
