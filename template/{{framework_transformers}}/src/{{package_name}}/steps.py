"""What each optimizer step works on: its rows, its seed, its micro-batches.

All of it is a function of (seed, step), so a run that was stopped goes on as if it had not been.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch

from .config import Config, TrainConfig
from .data import Batch, Dataset, num_targets
from .errors import ConfigError


@dataclass(frozen=True)
class Work:
    """One process's part of an optimizer step."""

    rows: list[int]
    """The rows of the whole step, over all processes."""
    chunks: list[list[int]]
    """This process's rows, micro-batch by micro-batch."""
    batches: list[Batch]
    """The same as arrays."""

    @property
    def num_targets(self) -> int:
        """Predictions that this process's loss is a sum of."""
        return sum(map(num_targets, self.batches))


class Feed:
    """Makes the batches of the next step in a thread, while the model computes this one's.

    A batch depends on nothing but its rows and its step, so it is the same whenever it is made.
    """

    def __init__(self, data: Dataset, config: Config, total: int, rank: int, size: int) -> None:
        self.data, self.train, self.total = data, config.train, total
        self.rank, self.size = rank, size
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="batches")
        self._ahead: tuple[tuple[int, int], Future[Work]] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.shutdown(cancel_futures=True)

    def take(self, step: int, micro_batch_size: int) -> Work:
        """The work of `step`. Raises DataError for a file that cannot be read."""
        wanted, ahead = (step, micro_batch_size), self._ahead
        if ahead and ahead[0] != wanted:  # memory ran out: the step is cut into smaller pieces
            wait([ahead[1]])
            ahead = None
        work = ahead[1].result() if ahead else self._make(*wanted)
        self._ahead = None
        if step + 1 < self.total:
            following = (step + 1, micro_batch_size)
            self._ahead = (following, self._thread.submit(self._make, *following))
        return work

    def settle(self) -> None:
        """Wait for the thread; what it made stays ready.

        It uses the data's tokenizer or processor, which keeps the padding of the moment in
        itself: nothing else may use it at the same time.
        """
        if self._ahead:
            wait([self._ahead[1]])

    def _make(self, step: int, micro_batch_size: int) -> Work:
        train, split = self.train, self.data.train
        rows = step_indices(len(split), train.global_batch_size, step, train.seed)
        # rows of like length share a micro-batch, which saves padding
        rows.sort(key=split.length)
        starts = range(0, len(rows), micro_batch_size)
        # dealt out like cards: every process gets short and long ones, and equally many
        chunks = [rows[i : i + micro_batch_size] for i in starts][self.rank :: self.size]
        augment = (train.seed, step)
        return Work(rows, chunks, [self.data.batch(split, chunk, augment) for chunk in chunks])


def total_steps(config: Config, num_sequences: int) -> int:
    """Optimizer steps of the whole run."""
    if config.train.max_steps:
        return config.train.max_steps
    steps = config.train.epochs * num_sequences / config.train.global_batch_size
    return max(1, int(np.ceil(steps)))


def step_indices(num_rows: int, batch_size: int, step: int, seed: int) -> list[int]:
    """Rows of one optimizer step: epochs, each shuffled anew, laid end to end."""
    return [
        int(_shuffled(num_rows, position // num_rows, seed)[position % num_rows])
        for position in range(step * batch_size, (step + 1) * batch_size)
    ]


_orders: dict[tuple[int, int, int], np.ndarray] = {}


def _shuffled(num_rows: int, epoch: int, seed: int) -> np.ndarray:
    key = (num_rows, epoch, seed)
    if key not in _orders:
        if len(_orders) > 1:
            _orders.clear()  # a step touches two epochs at most, unless the data is tiny
        _orders[key] = np.random.default_rng((seed, epoch)).permutation(num_rows)
    return _orders[key]


def seed_everything(seed: int, step: int, rank: int = 0) -> None:
    """Seed PyTorch for one step; dropout then needs no state of its own in a checkpoint."""
    sequence = np.random.SeedSequence((seed, step), spawn_key=(rank,) if rank else ())
    torch.manual_seed(int(sequence.generate_state(1, np.uint64)[0]))


def check_batch_sizes(train: TrainConfig, processes: int) -> None:
    """Raise ConfigError when the processes cannot have equally many micro-batches."""
    together = train.micro_batch_size * processes
    if train.global_batch_size % together:
        nearest = max(1, round(train.global_batch_size / together)) * together
        raise ConfigError(
            f"train.global_batch_size ({train.global_batch_size}) must be a multiple of "
            f"train.micro_batch_size ({train.micro_batch_size}) times {processes} processes; "
            f"the nearest is {nearest}, or set a smaller micro_batch_size"
        )


def smaller_micro_batch(global_batch_size: int, processes: int, size: int) -> int | None:
    """The next smaller micro-batch that cuts the same global batch evenly: about half."""
    share = global_batch_size // processes
    return next((n for n in range(size // 2, 0, -1) if share % n == 0), None)
