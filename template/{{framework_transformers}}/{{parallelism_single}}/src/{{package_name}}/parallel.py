"""Training in one process: nothing is shared, and there is nobody to agree with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor, nn

from .optimization import Precision
from .pretrained import pick_device

T = TypeVar("T")

PARALLELISM = "single"
CAN_RETRY = True  # a step that ran out of memory may be tried again with smaller micro-batches


@dataclass(frozen=True)
class World:
    """The processes of a run: this one."""

    device: torch.device
    rank: ClassVar[int] = 0
    size: ClassVar[int] = 1
    is_main: ClassVar[bool] = True

    def say(self, text: str) -> None:
        """Print a line."""
        print(text)

    def on_main(self, action: Callable[[], T]) -> T:
        """Do what only one process may do."""
        return action()

    def together(self, action: Callable[[], T]) -> T:
        """Do what every process does."""
        return action()

    def sum(self, values: Sequence[float]) -> list[float]:
        """The numbers of all processes, added up."""
        return list(values)

    def share(self, tensors: Iterable[Tensor]) -> None:
        """Give every process the values that the main one has."""


@contextmanager
def start() -> Iterator[World]:
    """Take the best device there is."""
    yield World(pick_device())


def place(model: Any, world: World, precision: Precision) -> Any:
    """The model on its device."""
    return model.to(world.device)


def add_gradients(parameters: Sequence[nn.Parameter], world: World) -> None:
    """The gradients are whole already."""


def clip(parameters: Sequence[nn.Parameter], max_norm: float) -> Tensor:
    """Scale the gradients down to a global L2 norm of at most `max_norm`; returns their norm."""
    return nn.utils.clip_grad_norm_(parameters, max_norm)


def gathered(tensors: Mapping[str, Tensor], world: World) -> dict[str, Tensor]:
    """The whole tensors."""
    return {name: tensor.detach() for name, tensor in tensors.items()}


def fill(target: Tensor, whole: Tensor) -> None:
    """Copy the values of `whole` to `target`."""
    target.copy_(whole)


def whole_model(
    model: Any,
    learnt: Mapping[str, Tensor],
    world: World,
    rebuild: Callable[[], Any],
) -> Any:
    """The trained model, to be saved."""
    return model
