"""The processes of a run, one for each GPU: who they are, and how they agree.

`scripts/launch.py` and torchrun tell each process its place in environment variables; without
these it is alone, and everything here does nothing. What processes tell each other goes over
the CPU (gloo), so that a GPU in trouble cannot stop it; gradients go over NCCL.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch.distributed.rendezvous import rendezvous

from .errors import ConfigError, UserError
from .pretrained import pick_device
from .redaction import brief

T = TypeVar("T")

EXIT_LEFT_ALONE = 70  # scripts/launch.py then looks for the process that was the cause
PATIENCE = timedelta(minutes=30)  # others wait while one writes a checkpoint or reads the data
TIME_TO_JOIN = timedelta(minutes=5)  # from the first machine's start to the last one's


class LeftAloneError(UserError):
    """Another process ended."""

    exit_code = EXIT_LEFT_ALONE


@dataclass(frozen=True)
class World:
    """One process among `size`; `rank` 0 is the main one, which writes and talks."""

    device: torch.device
    rank: int = 0
    size: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and talks."""
        return self.rank == 0

    def say(self, text: str) -> None:
        """Print a line, once."""
        if self.is_main:
            print(text, flush=True)

    def on_main(self, action: Callable[[], T]) -> T:
        """Do `action` in the main process; all get its result, or its UserError."""
        results = self._gather(_outcome(action) if self.is_main else (None, None))
        result, error = results[0]
        if error:
            raise error
        return result

    def together(self, action: Callable[[], T]) -> T:
        """Do `action` in every process; a UserError of one of them is raised in all."""
        if self.size == 1:
            return action()
        result, error = _outcome(action)
        if self.sum([error is not None])[0]:
            raise next(filter(None, self._gather(error)))
        return result

    def sum(self, values: Sequence[float]) -> list[float]:
        """The numbers of all processes, added up; every process gets the same."""
        if self.size == 1:
            return list(values)
        total = torch.tensor(values, dtype=torch.float64)
        with _others():
            dist.all_reduce(total)
        return total.tolist()

    def share(self, tensors: Iterable[torch.Tensor]) -> None:
        """Give every process the values that the main one has."""
        if self.size > 1:
            for tensor in tensors:
                dist.broadcast(tensor, src=0)

    def _gather(self, value: Any) -> list[Any]:
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        with _others():
            dist.all_gather_object(values, value)
        return values


def _outcome(action: Callable[[], Any]) -> tuple[Any, UserError | None]:
    try:
        return action(), None
    except UserError as error:
        return None, error


@contextmanager
def _others() -> Iterator[None]:
    """A process that ended takes its connection with it: no fault of this one."""
    try:
        yield
    except RuntimeError as error:
        raise LeftAloneError(
            f"another process of this run ended; its own message tells why ({brief(error, 100)})"
        ) from None


@contextmanager
def start() -> Iterator[World]:
    """Join the other processes. Raises ConfigError where there are fewer GPUs than processes."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield World(pick_device())
        return
    rank, local_rank = int(os.environ["RANK"]), int(os.environ["LOCAL_RANK"])
    gpus = torch.cuda.device_count()
    device = torch.device("cuda", local_rank) if gpus else torch.device("cpu")
    if dist.is_initialized():
        yield World(device, rank, size)  # whoever joined leaves
        return
    if gpus:
        here = int(os.environ.get("LOCAL_WORLD_SIZE", size))
        if here > gpus:
            raise ConfigError(f"{here} processes for {gpus} GPUs; run: make train GPUS={gpus}")
        torch.cuda.set_device(device)
    _join(rank, size, "cpu:gloo,cuda:nccl" if gpus else "gloo")
    try:
        yield World(device, rank, size)
    finally:
        dist.destroy_process_group()


def _join(rank: int, size: int, backend: str) -> None:
    """Meet the others at MASTER_ADDR. Raises UserError where some do not come in time."""
    try:
        store, *_ = next(rendezvous("env://", rank, size, timeout=TIME_TO_JOIN))
    except RuntimeError as error:
        place = f"{os.environ.get('MASTER_ADDR')}:{os.environ.get('MASTER_PORT')}"
        raise UserError(
            f"the {size} processes of this run did not all meet at {place} within "
            f"{TIME_TO_JOIN.total_seconds():,.0f} seconds; start the script on every machine, with "
            "the same NODES and MASTER and its own NODE_RANK, and see that machine 0 can be "
            f"reached there ({brief(error, 100)})"
        ) from None
    store.set_timeout(PATIENCE)
    dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=PATIENCE)
