"""Data parallel: every process has the whole model and takes its share of each step's rows.

Gradients are added up once a step, after its last backward pass. PyTorch's
DistributedDataParallel does it during that pass, which hides the transfer on slow links, but
then a process that runs out of memory or meets a bad row leaves the others waiting for ever.
Here all of them can agree on what to do first, and the model stays a plain one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from .optimization import Precision
from .world import World, start

__all__ = [
    "CAN_RETRY",
    "PARALLELISM",
    "World",
    "add_gradients",
    "clip",
    "fill",
    "gathered",
    "place",
    "start",
    "whole_model",
]

PARALLELISM = "ddp"
CAN_RETRY = True  # a step that ran out of memory may be tried again with smaller micro-batches
BUCKET_BYTES = 64 * 2**20  # gradients sent at once: few transfers, little memory


def place(model: Any, world: World, precision: Precision) -> Any:
    """The model on this process's device; what is trained starts as in the main process."""
    model = model.to(world.device)
    if world.size > 1:
        for parameter in model.parameters():
            if parameter.requires_grad:
                dist.broadcast(parameter.detach(), src=0)
    return model


@torch.no_grad()
def add_gradients(parameters: Sequence[nn.Parameter], world: World) -> None:
    """Replace each gradient by the sum of it over all processes.

    A parameter that this process's rows did not need counts as zero.
    """
    if world.size == 1:
        return
    for parameter in parameters:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    for bucket in _buckets([p.grad for p in parameters if p.grad is not None]):
        flat = torch.cat([gradient.flatten() for gradient in bucket])
        dist.all_reduce(flat)
        for gradient, total in zip(bucket, flat.split([g.numel() for g in bucket]), strict=True):
            gradient.copy_(total.view_as(gradient))


def _buckets(gradients: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    bucket: list[Tensor] = []
    size = 0
    for gradient in gradients:
        bucket.append(gradient)
        size += gradient.nbytes
        if size >= BUCKET_BYTES:
            yield bucket
            bucket, size = [], 0
    if bucket:
        yield bucket


def clip(parameters: Sequence[nn.Parameter], max_norm: float) -> Tensor:
    """Scale the gradients down to a global L2 norm of at most `max_norm`; returns their norm."""
    return nn.utils.clip_grad_norm_(parameters, max_norm)


def gathered(tensors: Mapping[str, Tensor], world: World) -> dict[str, Tensor]:
    """The whole tensors, which every process has."""
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
