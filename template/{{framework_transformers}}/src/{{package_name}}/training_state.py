"""What a checkpoint holds: trained weights, the optimizer's state, and where the run stands."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Self

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from .errors import UserError
from .parallel import World, fill, gathered
from .runs import read_json

WEIGHTS, OPTIMIZER, STATE = "trained.safetensors", "optimizer.safetensors", "state.json"


@dataclass
class Best:
    """The lowest evaluation loss so far; `since` counts the evaluations that were no better."""

    step: int | None = None
    eval_loss: float | None = None
    since: int = 0

    def update(self, step: int, eval_loss: float) -> bool:
        """Take in an evaluation; whether it is the best."""
        lower = self.eval_loss is None or eval_loss < self.eval_loss
        better = lower and math.isfinite(eval_loss)  # nothing is less than NaN: it would stay
        if better:
            self.step, self.eval_loss, self.since = step, eval_loss, 0
        else:
            self.since += 1
        return better

    def is_over(self, patience: int | None) -> bool:
        """Whether as many evaluations in a row were no better."""
        return patience is not None and self.since >= patience

    @classmethod
    def of(cls, checkpoint: Path | None) -> Self:
        """As it was when the checkpoint was written."""
        kept = read_json(checkpoint / STATE).get("best") if checkpoint else None
        known = {field.name for field in fields(cls)}
        return cls(**{k: v for k, v in (kept or {}).items() if k in known})


@dataclass
class Snapshot:
    """A checkpoint's content in memory; the tensors are in the main process only."""

    weights: dict[str, Tensor]
    optimizer: dict[str, Tensor]
    state: dict[str, Any]

    @classmethod
    def take(
        cls,
        learnt: Mapping[str, Tensor],
        optimizer: torch.optim.Optimizer,
        world: World,
        best: Best,
        **state: Any,
    ) -> Self:
        """`learnt`: parameters and buffers. Every process must call it."""
        moments = gathered(_optimizer_tensors(optimizer, learnt), world)
        return cls(gathered(learnt, world), moments, {**state, "best": asdict(best)})

    def write(self, path: Path) -> None:
        """Fill a checkpoint's folder. Raises OSError when it cannot be written."""
        try:
            for tensors, name in ((self.weights, WEIGHTS), (self.optimizer, OPTIMIZER)):
                save_file({key: t.contiguous() for key, t in tensors.items()}, path / name)
        except SafetensorError as error:  # how the library reports a full disk
            raise OSError(str(error)) from error
        (path / STATE).write_text(json.dumps(self.state), encoding="utf-8")


def kept_buffers(model: nn.Module) -> dict[str, Tensor]:
    """What a model holds besides parameters, such as the running statistics of BatchNorm.

    Without those that are computed anew whenever the model is built.
    """
    kept = model.state_dict().keys()
    return {name: buffer for name, buffer in model.named_buffers() if name in kept}


@torch.no_grad()
def load_weights(checkpoint: Path, learnt: Mapping[str, Tensor]) -> None:
    """Put a checkpoint's weights into `learnt`. Raises UserError for another model's."""
    # one tensor at a time, so that several processes do not each hold the whole file
    with safe_open(checkpoint / WEIGHTS, framework="pt") as weights:
        if set(weights.keys()) != learnt.keys():
            raise UserError(
                f"{checkpoint} belongs to another model; set train.output_dir to a new folder"
            )
        for name, tensor in learnt.items():
            if tuple(weights.get_slice(name).get_shape()) != tuple(tensor.shape):
                raise UserError(
                    f"{checkpoint}: {name} has another shape here; use a new output_dir"
                )
            fill(tensor, weights.get_tensor(name))


def load_checkpoint(
    checkpoint: Path,
    learnt: Mapping[str, Tensor],
    optimizer: torch.optim.Optimizer,
) -> dict[str, Any]:
    """Put weights and the optimizer's state back; return what else was saved."""
    load_weights(checkpoint, learnt)
    with safe_open(checkpoint / OPTIMIZER, framework="pt") as moments:
        _restore_optimizer(optimizer, learnt, moments)
    return read_json(checkpoint / STATE)


def _optimizer_tensors(
    optimizer: torch.optim.Optimizer, learnt: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """The optimizer's state as named tensors, so that safetensors can hold it."""
    return {
        f"{name}|{key}": torch.as_tensor(value)
        for name, tensor in learnt.items()
        for key, value in optimizer.state.get(tensor, {}).items()
    }


@torch.no_grad()
def _restore_optimizer(
    optimizer: torch.optim.Optimizer, learnt: Mapping[str, Tensor], file: Any
) -> None:
    """Put back what `_optimizer_tensors` returned, from an open safetensors `file`."""
    names: list[str] = file.keys()
    for name in names:
        parameter_name, _, key = name.rpartition("|")
        parameter, kept = learnt[parameter_name], file.get_tensor(name)
        if kept.shape == parameter.shape:
            state = torch.empty_like(parameter, dtype=kept.dtype)
            fill(state, kept)
        else:  # a step count, which the GPU's kernels want on the GPU
            state = kept.to(parameter.device) if parameter.is_cuda else kept
        optimizer.state[parameter][key] = state
