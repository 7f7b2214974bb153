"""The blocks that a model repeats, such as transformer layers: found, and compiled one by one."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from .errors import ConfigError

COMPILERS = ("cl",) if sys.platform == "win32" else ("g++", "clang++", "c++")


def blocks(module: nn.Module) -> Iterator[nn.Module]:
    """The blocks of every stack in the model, outermost stacks only."""
    for child in module.children():
        if isinstance(child, nn.ModuleList) and len(child) > 1:
            yield from child
        else:
            yield from blocks(child)


def compile_blocks(model: Any, backend: str = "inductor") -> None:
    """Let torch.compile make kernels for each block, in place: no name in a checkpoint changes.

    Blocks of one kind share what is compiled, so a deep model takes no longer than a shallow one,
    and what stands around them (sharding, checkpointing, the loss) stays as it is. Shapes are
    open from the start: kernels made for the first batch's shape would be other ones after a
    restart, and a run that goes on must compute what it would have computed.
    Raises ConfigError without a compiler.
    """
    compilers = [os.environ["CXX"]] if os.environ.get("CXX") else COMPILERS
    if backend == "inductor" and not any(map(shutil.which, compilers)):
        raise ConfigError(
            f"train.compile needs a C++ compiler ({' or '.join(compilers)}), and there is none; "
            "install one (Debian, Ubuntu: apt-get install g++), or set train.compile to false"
        )
    for block in list(blocks(model)) or [model]:
        block.compile(dynamic=True, backend=backend)
    # a block compiles once in training, once in evaluation, and where an argument is of another
    # kind; beyond 8 PyTorch goes on without a word, uncompiled
    torch._dynamo.config.recompile_limit = 64
