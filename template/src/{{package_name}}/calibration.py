"""What a run measured: beside its prediction in estimate.json, and for the next prediction.

`.calibration.json`, in the folder that holds the runs, keeps the newest speed of each device,
model, strategy and precision. With it the estimate of time is no longer a range of what others
have measured elsewhere but what this project saw, on CPUs too.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import estimate
from .estimate import ModelShape, Range, Training
from .runs import read_json, write_json

if TYPE_CHECKING:
    from .config import Config
    from .prediction import Prediction
    from .runs import Run

FILE = ".calibration.json"
MIN_STEPS = 10  # fewer are mostly warm-up
# how far the time of the next run may be off: with batches of the same shape, and of another
SAME_BATCH, OTHER_BATCH = 0.10, 0.30


@dataclass(frozen=True)
class Measured:
    """What training took; of one process when there are several."""

    tokens: float
    """Of all processes, without padding; for images and sounds what the model makes of them."""
    seconds: float
    """Of the training steps, without evaluation and checkpoints."""
    steps: int
    peak_gib: float | None = None
    """Allocated at the peak on one GPU; None without one."""


def record(
    run: Run,
    config: Config,
    found: Prediction,
    measured: Measured,
    say: Callable[[str], None] = print,
) -> None:
    """Say and write to estimate.json predicted against measured, and calibrate this device."""
    predicted = asdict(found.memory)
    hours = _hours_of(found, measured.tokens)
    predicted |= {"seconds": {k: v * 3600 for k, v in asdict(hours).items()} if hours else None}
    error = None
    if measured.peak_gib:
        error = found.memory.peak_gib / measured.peak_gib - 1
        say(
            f"peak memory: predicted {found.memory.peak_gib:.2f} GiB, measured "
            f"{measured.peak_gib:.2f} GiB ({100 * error:+.1f} %)"
        )
    took = time_text(Range(measured.seconds / 3600, measured.seconds / 3600))
    if hours:
        say(f"training steps: predicted {time_text(hours)}, measured {took}")
    write_json(
        run.path / "estimate.json",
        {
            "model": found.model,
            "device": found.device,
            "training": asdict(found.training),
            "predicted": predicted,
            "measured": asdict(measured),
            "peak_error": None if error is None else round(error, 4),
        },
    )
    amounts = (measured.tokens, measured.seconds)
    if measured.steps < MIN_STEPS or not all(0 < amount < math.inf for amount in amounts):
        return
    path = calibration_file(config)
    entry = {
        "seconds_per_token": measured.seconds / measured.tokens,
        "flops_per_token": estimate.flops_per_token(found.shape, found.timed),
        "micro_batch_size": found.timed.micro_batch_size,
        "sequence_length": found.timed.max_seq_len,
        "steps": measured.steps,
        "run": str(run.path),
        "measured": datetime.now(UTC).date().isoformat(),
    }
    try:
        write_json(path, {**read_json(path), _key(found.device, found.shape, found.timed): entry})
    except RecursionError:
        say(f"{path} is damaged; delete it, and the next run calibrates the estimate")
        return
    except OSError as error_:
        say(f"{path} cannot be written ({error_.strerror}); the next estimate is not calibrated")
        return
    say(f"the next estimate for this device uses this speed ({path})")


def calibrated_hours(
    config: Config, device: str, shape: ModelShape, training: Training, tokens: float
) -> Range | None:
    """Hours at the speed of this project's newest run on that device; None before there is one."""
    try:
        entry = read_json(calibration_file(config)).get(_key(device, shape, training))
    except RecursionError:  # nested without end: damaged
        return None
    if not isinstance(entry, dict):
        return None
    try:
        speed = float(entry["seconds_per_token"])
        work = estimate.flops_per_token(shape, training) / float(entry["flops_per_token"])
        batch = int(entry["micro_batch_size"]) * int(entry["sequence_length"])
    except (KeyError, TypeError, ValueError, ZeroDivisionError, OverflowError):
        return None  # written by hand or by another version: no measurement
    hours = tokens * speed * work / 3600
    if not (math.isfinite(hours) and speed > 0 and work > 0 and batch > 0):
        return None
    now = training.micro_batch_size * training.max_seq_len
    off = SAME_BATCH if 0.8 <= now / batch <= 1.25 else OTHER_BATCH
    return Range(hours * (1 - off), hours * (1 + off))


def calibration_file(config: Config) -> Path:
    """Beside the runs."""
    return config.train.output_dir.parent / FILE


def time_text(hours: Range) -> str:
    """A span of time in a unit that suits it, with two digits."""
    low, high, unit = hours.low, hours.high, "h"
    if high < 1 / 60:
        low, high, unit = low * 3600, high * 3600, "s"
    elif high < 1:
        low, high, unit = low * 60, high * 60, "min"
    ends = [f"{value:,.0f}" if value >= 10 else f"{value:.2g}" for value in (low, high)]
    return f"{ends[0]} {unit}" if ends[0] == ends[1] else f"{ends[0]} to {ends[1]} {unit}"


def _hours_of(found: Prediction, tokens: float) -> Range | None:
    """The predicted hours, for the tokens that were really trained on."""
    if found.hours is None or not found.tokens:
        return None
    return found.hours * (tokens / found.tokens)


def _key(device: str, shape: ModelShape, training: Training) -> str:
    parts: list[Any] = [device, f"{training.gpu_count}x", training.strategy, training.precision]
    return " ".join(map(str, [*parts, shape.family, shape.params]))
