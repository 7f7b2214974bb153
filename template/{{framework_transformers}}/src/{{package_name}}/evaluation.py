"""Evaluation: the model over held-out data, without gradients."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .config import Config
from .data import Batch, Dataset, Split, load_eval
from .evaluated import other_rows
from .metrics import Metrics
from .model import AUTO_CLASS, loss_and_logits, predictions
from .optimization import Precision, pick_precision
from .parallel import World
from .pretrained import load as load_pretrained
from .pretrained import load_trained, pick_device
from .processor import PROCESSOR_CLASS
from .registry import output_folder
from .runs import read_json, write_json


def to_device(batch: Batch, device: torch.device) -> dict[str, torch.Tensor]:
    """NumPy arrays to tensors."""
    return {
        name: torch.from_numpy(array).to(device, non_blocking=True) for name, array in batch.items()
    }


@torch.no_grad()
def evaluate(
    model: Any,
    data: Dataset,
    split: Split,
    batch_size: int,
    precision: Precision,
    rank: int = 0,
    size: int = 1,
) -> Metrics:
    """Run `model` over this process's share of `split`; rows of like length share a batch."""
    was_training = model.training
    model.eval()
    metrics = Metrics(data.labels)
    for indices, counts in _batches(split, batch_size, rank, size):
        batch = data.batch(split, indices)
        with precision.autocast():
            loss, logits = loss_and_logits(model, to_device(batch, precision.device))
        if counts:
            metrics.update(batch, predictions(logits).cpu().numpy(), float(loss))
    model.train(was_training)
    return metrics


def add_up(metrics: Metrics, world: World) -> None:
    """Every number that Metrics holds is a sum over batches: add those of all processes."""
    for name, value in vars(metrics).items():
        if isinstance(value, int | float | np.ndarray):
            numbers = np.asarray(value)
            total = np.asarray(world.sum(numbers.ravel().tolist()), dtype=numbers.dtype)
            shaped = total.reshape(numbers.shape)
            setattr(metrics, name, shaped if shaped.ndim else shaped.item())


def _batches(
    split: Split, batch_size: int, rank: int, size: int
) -> Iterator[tuple[list[int], bool]]:
    """Batches of this process, and whether they count.

    All processes get equally many: they gather a sharded model's weights together. Where there
    is none left, one is repeated and does not count.
    """
    order = np.argsort(split.lengths(), kind="stable").tolist()
    batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    for first in range(0, len(batches), size):
        counts = first + rank < len(batches)
        yield batches[first + rank if counts else first], counts


def evaluate_folder(config: Config, folder: Path) -> dict[str, Any]:
    """Evaluate a trained model's folder on the configured held-out data.

    Prints the scalars, writes evaluation.json beside the model (for a version of the registry
    into models/from_registry), returns all metrics. Says so where these are not the rows that the
    model's run held out.
    """
    device = pick_device()
    precision = pick_precision(config.train.precision, device)
    # as in training: weights that stayed frozen are in the compute dtype
    dtype = precision.frozen if config.model.needs_pretrained else torch.float32
    model: Any = load_trained(AUTO_CLASS, folder, device, dtype=dtype)
    processor = load_pretrained(PROCESSOR_CLASS, str(folder))
    return evaluate_loaded(config, model, processor, precision, folder)


def evaluate_loaded(
    config: Config,
    model: Any,
    processor: Any,
    precision: Precision,
    folder: Path,
    file: str = "evaluation.json",
) -> dict[str, Any]:
    """What `evaluate_folder` does with the model that it has loaded."""
    data = load_eval(config, processor, model.config)
    metrics = evaluate(model, data, data.eval, config.train.micro_batch_size, precision)
    report = {
        "data": config.data.eval or config.data.train,
        "rows": data.eval.num_rows,
        "data_sha256": data.sha256,
        **metrics.report(),
    }
    path = output_folder(folder) / file
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, report)
    for name, value in metrics.scalars().items():
        print(f"{name} {value:.4f}")
    print(f"all metrics: {path}")
    other = other_rows(read_json(folder.parent / "run.json"), report)
    if other:
        print(f"note: {other}; compare these numbers with no others of the run", file=sys.stderr)
    return report
