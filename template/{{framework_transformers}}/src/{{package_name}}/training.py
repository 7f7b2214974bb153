"""The training loop: parse, build, train, save.

Every optimizer step depends only on the configuration, the data and the step's number:
the rows of a step and the seed of its dropout are functions of (seed, step). So a run that
was killed and goes on from a checkpoint computes what it would have computed anyway.
"""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, Self

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import AutoTokenizer

from . import estimate
from .checkpoints import write_whole
from .config import Config
from .data import TASK, THROUGHPUT, Batch, Dataset, load, num_targets, sources
from .errors import EXIT_STOPPED, ConfigError, DataError, UserError
from .evaluation import evaluate, to_device
from .finetuning import STRATEGY, wrap
from .model import build_model, check, loss_and_logits, new_modules
from .optimization import (
    Precision,
    learning_rate,
    make_optimizer,
    optimizer_tensors,
    pick_precision,
    restore_optimizer,
)
from .pretrained import get_tokenizer, pick_device, save_trained
from .pretrained import load as load_pretrained
from .progress import Display, MetricsLog
from .report import write_report
from .rows import content_sha256
from .runs import Run, environment, plan_run, read_json, tokenizer_of
from .tracking import Trackers, refuse_unknown

WEIGHTS, OPTIMIZER, STATE = "trained.safetensors", "optimizer.safetensors", "state.json"
MIN_LOSS_SCALE = 2.0**-14  # fp16 starts at 2^16; nothing that trains ends up here
GIB = 2**30


@dataclass(frozen=True)
class Result:
    """What a run ended with; `model` is None when there was nothing left to do."""

    exit_code: int
    run: Run
    model: Any = None
    tokenizer: Any = None


def train(config: Config) -> Result:
    """Train as configured; exit code 0 is done, 75 stopped by a signal with a checkpoint.

    Raises UserError (and its kinds) for what the user can mend.
    """
    refuse_unknown(config)
    device = pick_device()
    precision = pick_precision(config.train.precision, device)
    run = plan_run(config, content_sha256(sources(config.data)), say=print)
    tokenizer = _tokenizer(config, run)
    data = load(config, tokenizer)
    total = total_steps(config, len(data.train))
    # killed between the last checkpoint and the final model: go on, and write that
    if run.start >= total and run.final.is_dir():
        print(f"{run.path} is complete at step {run.start}; raise train.max_steps to go on")
        return Result(0, run)
    if run.start > total:
        raise ConfigError(
            f"{run.checkpoint} is past the {total} steps to train; raise train.max_steps or "
            "train.epochs, or set train.resume to never to start over"
        )
    # what is trained needs fp32; weights that stay frozen take the compute dtype
    dtype = precision.frozen if config.model.needs_pretrained else torch.float32
    seed_everything(config.train.seed, 0)
    model = build_model(config, tokenizer, data, dtype)
    model = wrap(model, config.model, new_modules(model)).to(device)
    if config.train.activation_checkpointing:
        model.activation_checkpointing_enable({"use_reentrant": False})
    model.train()
    check(model, config, device)

    run.create(config, say=print)
    if run.checkpoint:
        print(f"going on from {run.checkpoint} to step {total}")
    if not (run.checkpoint and run.tokenizer.is_dir()):  # whoever goes on must find the same one
        write_whole(run.tokenizer, lambda path: tokenizer.save_pretrained(path))
    parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
    optimizer = make_optimizer(parameters, config.train)
    loop = Loop(config, run, data, model, parameters, optimizer, precision, total)
    if run.checkpoint:
        loop.restore(load_checkpoint(run.checkpoint, parameters, optimizer))
    before_s = run.seconds_before()
    run.record(
        task=TASK,
        strategy=STRATEGY,
        seed=config.train.seed,
        data_sha256=data.sha256,
        device=_device_name(device),
        precision=precision.name,
        parameters=sum(p.numel() for p in model.parameters()),
        trained_parameters=sum(p.numel() for p in parameters.values()),
        status="running",
        **environment(),
    )
    status = "failed"
    try:
        status = loop.run_all()
    except torch.OutOfMemoryError as error:
        raise UserError(
            f"out of GPU memory at step {loop.step + 1} with train.micro_batch_size "
            f"{config.train.micro_batch_size}; halve it (the global batch stays the same), or "
            "set train.activation_checkpointing"
        ) from error
    finally:
        run.record(status=status, steps=loop.step, seconds=round(before_s + loop.seconds, 1))
    if status == "stopped":
        print(f"stopped at step {loop.step} of {total}; run the same command again to go on")
        return Result(EXIT_STOPPED, run, model, tokenizer)
    # it would describe the model of before
    (run.path / "evaluation.json").unlink(missing_ok=True)
    write_whole(run.final, lambda path: save_trained(model, tokenizer, path))
    report = write_report(run.path)
    print(f"trained model: {run.final}\nreport: {report}")
    return Result(0, run, model, tokenizer)


@dataclass
class Loop:
    """One pass from the run's start to its last step."""

    config: Config
    run: Run
    data: Dataset
    model: Any
    parameters: Mapping[str, nn.Parameter]
    optimizer: torch.optim.Optimizer
    precision: Precision
    total: int
    step: int = field(init=False)
    seconds: float = 0.0

    def __post_init__(self) -> None:
        self.step = self.run.start
        self.scaler = self.precision.scaler()
        self.log = MetricsLog(self.run.metrics, self.step)
        self._flops_per_token = _flops_per_token(self.model, self.data)
        self._tokens = 0
        self._losses: list[float] = []
        self._size = 0
        self._since = 0.0

    def run_all(self) -> str:
        """Train to the last step (`done`) or until a signal (`stopped`)."""
        began, status = time.perf_counter(), "failed"
        with Stop() as stop, Display(self.total, self.step, THROUGHPUT) as display:
            display.say(f"{self.data.summary()}; {self.total:,} steps")
            trackers = Trackers(self.config, self.run.path, display.say)
            try:
                self._run_steps(stop, display, trackers)
                status = "done" if self.step == self.total else "stopped"
            finally:
                trackers.finish(status)
                self.seconds = time.perf_counter() - began
        return status

    def _run_steps(self, stop: Stop, display: Display, trackers: Trackers) -> None:
        train = self.config.train
        self._since = time.perf_counter()
        while self.step < self.total:
            loss, grad_norm, rate = self.train_step()
            self.step += 1
            self._losses.append(loss)
            display.step(self.step, loss)
            last = self.step == self.total
            if last or self.step % train.log_every == 0:
                self._report(self._throughput(grad_norm, rate), display, trackers)
            if last or (train.eval_every and self.step % train.eval_every == 0):
                self._report(self._evaluate(), display, trackers)
            if stop.requested or last or self.step % train.save_every == 0:
                self.save()
            if stop.requested:
                return

    def train_step(self) -> tuple[float, float, float]:
        """One optimizer step; returns (mean loss per target, gradient norm, learning rate).

        Raises UserError on a loss that is not finite, naming step and rows.
        """
        train = self.config.train
        seed_everything(train.seed, self.step + 1)
        indices = step_indices(len(self.data.train), train.global_batch_size, self.step, train.seed)
        # rows of like length share a micro-batch, which saves padding
        indices.sort(key=self.data.train.length)
        chunks = [
            indices[i : i + train.micro_batch_size]
            for i in range(0, len(indices), train.micro_batch_size)
        ]
        batches = [self.data.batch(self.data.train, chunk) for chunk in chunks]
        # by the targets of the whole global batch: micro-batches with few targets must not
        # weigh as much as full ones
        targets = sum(num_targets(batch) for batch in batches)
        if targets == 0:
            raise DataError(f"rows {self._rows(indices)} have nothing to predict; drop them")
        loss = sum(self._backward(b, targets, c) for b, c in zip(batches, chunks, strict=True))
        rate = learning_rate(self.step, self.total, train)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.scaler.unscale_(self.optimizer)
        norm = nn.utils.clip_grad_norm_(list(self.parameters.values()), train.max_grad_norm)
        if not torch.isfinite(norm) and not self.scaler.is_enabled():
            raise UserError(
                f"step {self.step + 1}: the gradient is not finite; rows {self._rows(indices)}; "
                "lower train.learning_rate or look at these rows"
            )
        self.scaler.step(self.optimizer)  # skipped when the scale was too large, which halves it
        self.scaler.update()
        if self.scaler.is_enabled() and self.scaler.get_scale() < MIN_LOSS_SCALE:
            raise UserError(
                f"step {self.step + 1}: the gradient is not finite whatever the loss is scaled by; "
                "lower train.learning_rate, or set train.precision to fp32"
            )
        self.optimizer.zero_grad(set_to_none=True)
        self._size += self.data.size(self.data.train, indices)
        self._tokens += sum(self.data.train.length(i) for i in indices)
        return loss, float(norm), rate

    def _backward(self, batch: Batch, targets: int, rows: list[int]) -> float:
        with self.precision.autocast():
            loss_sum, _ = loss_and_logits(self.model, to_device(batch, self.precision.device))
        loss = loss_sum / targets
        self.scaler.scale(loss).backward()
        value = float(loss.detach())
        if not np.isfinite(value):
            raise UserError(
                f"step {self.step + 1}: the loss is not finite; rows {self._rows(rows)}; lower "
                "train.learning_rate or look at these rows"
            )
        return value

    def save(self) -> None:
        """Write a checkpoint of what is trained, with the optimizer's state."""

        def write(path: Path) -> None:
            weights = {name: p.detach().contiguous() for name, p in self.parameters.items()}
            try:
                save_file(weights, path / WEIGHTS)
                save_file(optimizer_tensors(self.optimizer, self.parameters), path / OPTIMIZER)
            except SafetensorError as error:  # how the library reports a full disk
                raise OSError(str(error)) from error
            state = {"scaler": self.scaler.state_dict(), "losses": self._losses}
            (path / STATE).write_text(json.dumps(state), encoding="utf-8")

        began = time.perf_counter()
        self.run.checkpoints.save(self.step, write)
        self._since += time.perf_counter() - began  # writing is not training time

    def restore(self, state: Mapping[str, Any]) -> None:
        """Put back what `save` wrote besides weights and optimizer: loss scale, losses to log."""
        if state["scaler"]:
            self.scaler.load_state_dict(state["scaler"])
        self._losses = list(state["losses"])

    def _report(self, values: dict[str, Any], display: Display, trackers: Trackers) -> None:
        self.log.write(values)
        display.log(values)
        trackers.log({k: v for k, v in values.items() if k != "step"}, self.step)

    def _throughput(self, grad_norm: float, rate: float) -> dict[str, Any]:
        now = time.perf_counter()
        elapsed = now - self._since
        values: dict[str, Any] = {
            "step": self.step,
            "loss": sum(self._losses) / len(self._losses),
            "learning_rate": rate,
            "grad_norm": grad_norm,
            THROUGHPUT: self._size / elapsed,
        }
        if self.precision.device.type == "cuda":
            values["peak_memory_gib"] = torch.cuda.max_memory_allocated() / GIB
            peak = _peak_flops(self.precision)
            if peak and self._flops_per_token:
                values["mfu"] = self._tokens * self._flops_per_token / elapsed / peak
        self._losses, self._size, self._tokens, self._since = [], 0, 0, now
        return values

    def _evaluate(self) -> dict[str, Any]:
        began = time.perf_counter()
        size = self.config.train.micro_batch_size
        metrics = evaluate(self.model, self.data, self.data.eval, size, self.precision)
        self._since += time.perf_counter() - began  # evaluation is not training time
        return {"step": self.step, **metrics.scalars()}

    def _rows(self, indices: list[int]) -> str:
        rows = sorted(self.data.train.rows(indices))
        return f"{', '.join(map(str, rows[:20]))}{' …' if len(rows) > 20 else ''} of the data file"


def total_steps(config: Config, num_sequences: int) -> int:
    """Optimizer steps of the whole run."""
    if config.train.max_steps:
        return config.train.max_steps
    steps = config.train.epochs * num_sequences / config.train.global_batch_size
    return max(1, int(np.ceil(steps)))


def step_indices(num_rows: int, batch_size: int, step: int, seed: int) -> list[int]:
    """Rows of one optimizer step: epochs, each shuffled anew, laid end to end."""
    return [
        _shuffled(num_rows, position // num_rows, seed)[position % num_rows]
        for position in range(step * batch_size, (step + 1) * batch_size)
    ]


_orders: dict[tuple[int, int, int], list[int]] = {}


def _shuffled(num_rows: int, epoch: int, seed: int) -> list[int]:
    key = (num_rows, epoch, seed)
    if key not in _orders:
        if len(_orders) > 1:
            _orders.clear()  # a step touches two epochs at most, unless the data is tiny
        _orders[key] = np.random.default_rng((seed, epoch)).permutation(num_rows).tolist()
    return _orders[key]


def seed_everything(seed: int, step: int) -> None:
    """Seed PyTorch for one step; dropout then needs no state of its own in a checkpoint."""
    torch.manual_seed(int(np.random.SeedSequence((seed, step)).generate_state(1, np.uint64)[0]))


def load_checkpoint(
    path: Path,
    parameters: Mapping[str, nn.Parameter],
    optimizer: torch.optim.Optimizer,
) -> dict[str, Any]:
    """Put weights and optimizer state back; return what else was saved.

    Raises UserError when they are another model's.
    """
    weights = load_file(path / WEIGHTS)
    if weights.keys() != parameters.keys():
        raise UserError(f"{path} belongs to another model; set train.output_dir to a new folder")
    with torch.no_grad():
        for name, parameter in parameters.items():
            if weights[name].shape != parameter.shape:
                raise UserError(f"{path}: {name} has another shape here; use a new output_dir")
            parameter.copy_(weights[name])
    restore_optimizer(optimizer, parameters, load_file(path / OPTIMIZER))
    return read_json(path / STATE)


class Stop:
    """Turns the first SIGTERM or SIGINT into a request; a second one interrupts at once."""

    requested = False

    def __enter__(self) -> Self:
        self._before = {s: signal.signal(s, self._ask) for s in (signal.SIGTERM, signal.SIGINT)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True


def _tokenizer(config: Config, run: Run) -> Any:
    """The checkpoint's own tokenizer when training goes on, otherwise the model's."""
    if run.checkpoint:
        return load_pretrained(AutoTokenizer, str(tokenizer_of(run.checkpoint)))
    return get_tokenizer(config)


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def _flops_per_token(model: Any, data: Dataset) -> float | None:
    """What the model needs for a token, without recomputation; None for an unknown architecture."""
    try:
        shape = estimate.shape_from_config(model.config.to_dict())
    except estimate.EstimateError:
        return None
    mean_length = int(data.train.store.lengths().mean())
    return estimate.flops_per_token(shape, strategy=STRATEGY, max_seq_len=mean_length)


def _peak_flops(precision: Precision) -> float | None:
    """Dense peak of this GPU in the compute dtype, FLOP/s; None for a GPU not in the table."""
    try:
        gpu = estimate.find_gpu(torch.cuda.get_device_name(precision.device))
    except estimate.EstimateError:
        return None
    teraflops = gpu.bf16_tflops if precision.compute == torch.bfloat16 else gpu.fp16_tflops
    return teraflops * 1e12 if teraflops else None
