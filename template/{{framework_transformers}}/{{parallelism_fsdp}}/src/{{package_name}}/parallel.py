"""Fully sharded (FSDP2): each process keeps its share of every weight, gradient and moment.

A layer's weights are gathered for the moment in which they are needed. So the model needs room
on all GPUs together, for more traffic between them (Zhao et al. 2023, arXiv:2304.11277).
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import chain
from typing import Any, NoReturn

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from . import errors
from .blocks import blocks
from .errors import ConfigError
from .optimization import Precision
from .world import World
from .world import start as join

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

PARALLELISM = "fsdp"
# Weights are gathered in the middle of a pass: the others would wait for a process that gave up.
CAN_RETRY = False


@contextmanager
def start() -> Iterator[World]:
    """Join the other processes. Raises ConfigError where there are fewer GPUs than processes."""
    with join() as world:
        if world.size > 1:
            errors.leave = _leave_at_once
        yield world


def _leave_at_once(code: int) -> NoReturn:
    """End as Python does, but leave its modules and objects as they are.

    PyTorch's mesh keeps gloo's threads alive, and one that frees a tensor while Python takes
    itself apart aborts: a finished run would have failed (PyTorch's issue 190489).
    """
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(BrokenPipeError, ValueError):  # nobody reads any more, or it is closed
            stream.flush()
    os._exit(code)


def place(model: Any, world: World, precision: Precision) -> Any:
    """The model with its weights spread over all processes, layer by layer.

    Products are computed in the precision's dtype, gradients are added up in fp32.
    Raises ConfigError for fp16, whose loss scaling this does not do.
    """
    if world.size == 1:
        return model.to(world.device)
    if precision.compute == torch.float16:
        raise ConfigError(
            "train.precision: fp16 and sharding do not go together; set bf16 (slow before Ampere) "
            "or fp32, or make the project with ddp"
        )
    mesh = init_device_mesh(world.device.type, (world.size,))
    dtype = None if precision.compute == torch.float32 else precision.compute
    policy = MixedPrecisionPolicy(param_dtype=dtype, reduce_dtype=torch.float32)
    for part in [*blocks(model), model]:
        fully_shard(part, mesh=mesh, mp_policy=policy)
    for module in model.modules():
        if isinstance(module, FSDPModule):
            # the loss is divided by the targets of all processes: gradients add up
            module.set_gradient_divide_factor(1.0)
            module.set_force_sum_reduction_for_comms(True)
            # one process's rows may leave out a part, such as the image encoder
            module.set_reduce_scatter_unused_params(True, recurse=False)
    return model


def add_gradients(parameters: Sequence[nn.Parameter], world: World) -> None:
    """The backward pass has added them up."""


def clip(parameters: Sequence[nn.Parameter], max_norm: float) -> Tensor:
    """Scale the gradients down to a global L2 norm of at most `max_norm`; returns their norm."""
    return _whole(nn.utils.clip_grad_norm_(parameters, max_norm))


def gathered(tensors: Mapping[str, Tensor], world: World) -> dict[str, Tensor]:
    """The whole tensors on the CPU in the main process, nothing in the others.

    Every process must call it; one tensor at a time is gathered.
    """
    if world.size == 1:
        return {name: tensor.detach() for name, tensor in tensors.items()}
    kept = {}
    for name, tensor in tensors.items():
        whole = _whole(tensor.detach())
        if world.is_main:
            kept[name] = whole.cpu()
    return kept


def _whole(tensor: Tensor) -> Tensor:
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def fill(target: Tensor, whole: Tensor) -> None:
    """Copy the values of `whole` to `target`, which may be spread: this process's share of them."""
    if isinstance(target, DTensor):
        mesh, placements = target.device_mesh, target.placements
        whole = whole.to(target.device)
        target.copy_(distribute_tensor(whole, mesh, placements, src_data_rank=None))
    else:
        target.copy_(whole)


@torch.no_grad()
def whole_model(
    model: Any,
    learnt: Mapping[str, Tensor],
    world: World,
    rebuild: Callable[[], Any],
) -> Any:
    """The trained model in one piece in the main process, None in the others.

    `learnt` is what training changed, `rebuild` makes the model as it was before, on the CPU.
    """
    if world.size == 1:
        return model
    weights = gathered(learnt, world)
    if not world.is_main:
        return None
    rebuilt = rebuild()
    for name, tensor in chain(rebuilt.named_parameters(), rebuilt.named_buffers()):
        if name in weights:
            tensor.copy_(weights[name])
    return rebuilt.eval()
