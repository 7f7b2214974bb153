"""The training loop: from one optimizer step to the next, with what is logged and kept."""

from __future__ import annotations

import gc
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import FrameType
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from . import parallel
from .config import Config
from .data import THROUGHPUT, Dataset
from .errors import DataError, UserError
from .evaluation import add_up, evaluate, to_device
from .metrics import Metrics
from .model import loss_and_logits
from .optimization import Precision, learning_rate
from .profiling import Profile
from .progress import Display, MetricsLog
from .runs import Run
from .steps import Feed, Work, seed_everything, smaller_micro_batch
from .tracking import Trackers
from .training_state import Best, Snapshot, kept_buffers, load_weights
from .utilization import Utilization

MIN_LOSS_SCALE = 2.0**-14  # fp16 starts at 2^16; nothing that trains ends up here
GIB = 2**30


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
    world: parallel.World
    total: int
    trackers: Trackers = field(default_factory=Trackers)
    step: int = field(init=False)
    micro_batch_size: int = field(init=False)
    best: Best = field(default_factory=Best)
    seconds: float = 0.0
    """Of everything."""
    train_seconds: float = 0.0
    """Of the training steps."""
    units: int = 0
    """Tokens, images or sounds trained on, as Split.length counts them."""

    def __post_init__(self) -> None:
        self.step = self.run.start
        self.micro_batch_size = self.config.train.micro_batch_size
        self.scaler = self.precision.scaler()
        self._utilization = Utilization.of(self.model, self.data, self.precision)
        self._units = 0
        self._losses: list[float] = []
        self._size = 0
        self._since = 0.0

    def run_all(self) -> str:
        """Train to the last step (`done`) or until a signal (`stopped`)."""
        began, status, main = time.perf_counter(), "failed", self.world.is_main
        world, total = self.world, self.total
        with (
            Stop() as stop,
            Feed(self.data, self.config, total, world.rank, world.size) as self._feed,
            Display(total, self.step, THROUGHPUT, quiet=not main) as self._display,
            Profile(
                self.config.train.profile_steps if main else 0,
                self.run.path / "profile",
                self._display.say,
            ) as self._profile,
        ):
            self._display.say(f"{self.data.summary()}; {total:,} steps")
            self._log = MetricsLog(self.run.metrics, self.step) if main else None
            try:
                status = self._run_steps(stop)
            finally:
                self.seconds = time.perf_counter() - began
        return status

    def _run_steps(self, stop: Stop) -> str:
        train = self.config.train
        self._since = time.perf_counter()
        while self.step < self.total and not self.best.is_over(train.early_stopping_patience):
            loss, grad_norm, rate = self.train_step()
            self.step += 1
            self._losses.append(loss)
            self._display.step(self.step, loss)
            self._profile.step()
            last = self.step == self.total
            if last or self.step % train.log_every == 0:
                self._report(self._throughput(grad_norm, rate))
            if last or (train.eval_every and self.step % train.eval_every == 0):
                metrics = self._evaluate()
                self._report(metrics)
                better = self.best.update(self.step, metrics["eval_loss"])
                # the best weights are kept where they will be wanted
                keep = better and train.final_model == "best"
                if self.best.is_over(train.early_stopping_patience):
                    last = True
                    if self._losses:  # the steps since the last report
                        self._report(self._throughput(grad_norm, rate))
            else:
                keep = False
            # all processes stop after the same step, whichever was told to
            stopped = self.world.sum([stop.requested])[0] > 0
            if stopped or last or keep or self.step % train.save_every == 0:
                self.save()
            if stopped and not last:
                return "stopped"
        return "done"

    def train_step(self) -> tuple[float, float, float]:
        """One optimizer step; returns (mean loss per target, gradient norm, learning rate).

        Raises UserError on a loss that is not finite, naming step and rows.
        """
        train, world = self.config.train, self.world
        parameters = list(self.parameters.values())
        work, loss = self._forward_backward()
        rate = learning_rate(self.step, self.total, train)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        parallel.add_gradients(parameters, world)
        self.scaler.unscale_(self.optimizer)
        norm = parallel.clip(parameters, train.max_grad_norm)
        if not torch.isfinite(norm) and not self.scaler.is_enabled():
            raise UserError(
                f"step {self.step + 1}: the gradient is not finite; rows {self._rows(work.rows)}; "
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
        self._size += self.data.size(self.data.train, work.rows)
        self._units += sum(self.data.train.length(i) for i in work.rows)
        return loss, float(norm), rate

    def _forward_backward(self) -> tuple[Work, float]:
        """The gradient of the whole step, in smaller micro-batches where memory runs out."""
        world = self.world
        while True:
            work = world.together(lambda: self._feed.take(self.step, self.micro_batch_size))
            # by the targets of the whole global batch: micro-batches with few targets must not
            # weigh as much as full ones
            targets = world.sum([work.num_targets])[0]
            if not targets:
                raise DataError(f"rows {self._rows(work.rows)} have nothing to predict; drop them")
            seed_everything(self.config.train.seed, self.step + 1, world.rank)
            loss = world.together(lambda: self._accumulate(work, targets))  # noqa: B023
            loss_sum, out_of_memory = world.sum([loss or 0.0, loss is None])
            if not out_of_memory:
                return work, loss_sum
            self._shrink()

    def _accumulate(self, work: Work, targets: float) -> float | None:
        """Add up this process's gradients and losses; None when memory ran out.

        Raises UserError on a loss that is not finite, naming step and rows.
        """
        total, bad_rows = 0.0, []
        try:
            for batch, rows in zip(work.batches, work.chunks, strict=True):
                with self.precision.autocast():
                    loss_sum, _ = loss_and_logits(
                        self.model, to_device(batch, self.precision.device)
                    )
                loss = loss_sum / targets
                self.scaler.scale(loss).backward()
                value = float(loss.detach())
                bad_rows += [] if np.isfinite(value) else rows
                total += value
        except torch.OutOfMemoryError:
            if not self._can_retry:
                raise
            return None
        if bad_rows:
            raise UserError(
                f"step {self.step + 1}: the loss is not finite; rows {self._rows(bad_rows)}; lower "
                "train.learning_rate or look at these rows"
            )
        return total

    @property
    def _can_retry(self) -> bool:
        return parallel.CAN_RETRY or self.world.size == 1

    def _shrink(self) -> None:
        """Halve the micro-batch after memory ran out: more of them make the same global batch.

        Raises UserError when it is one sequence already.
        """
        train, before = self.config.train, self.micro_batch_size
        size = smaller_micro_batch(train.global_batch_size, self.world.size, before)
        if size is None:
            raise UserError(
                f"out of memory at step {self.step + 1} with one sequence at a time; set "
                "train.activation_checkpointing, or lower train.max_seq_len"
            )
        self.micro_batch_size = size
        self.optimizer.zero_grad(set_to_none=True)
        gc.collect()
        torch.cuda.empty_cache()
        self._display.say(
            f"out of memory at step {self.step + 1} with train.micro_batch_size {before}; going on "
            f"with {size}: the global batch stays the same"
        )
        if self.world.is_main:
            self.run.record(micro_batch_size=size)

    @property
    def learnt(self) -> dict[str, Tensor]:
        """What training changes: the trained parameters, and running statistics."""
        return {**self.parameters, **kept_buffers(self.model)}

    def save(self) -> None:
        """Write a checkpoint of what training changes, with the optimizer's state."""
        began = time.perf_counter()
        configured = self.config.train.micro_batch_size
        snapshot = Snapshot.take(
            self.learnt,
            self.optimizer,
            self.world,
            self.best,
            scaler=self.scaler.state_dict(),
            losses=self._losses,
            total=self.total,
            micro_batch_size={"configured": configured, "used": self.micro_batch_size},
        )
        keep = {self.best.step} if self.config.train.final_model == "best" else set()
        checkpoints = self.run.checkpoints
        self.world.on_main(lambda: checkpoints.save(self.step, snapshot.write, keep))
        self._since += time.perf_counter() - began  # writing is not training time

    def restore(self, state: Mapping[str, Any]) -> None:
        """Put back what `save` wrote besides weights and optimizer."""
        if state["scaler"]:
            self.scaler.load_state_dict(state["scaler"])
        self._losses = list(state["losses"])
        self.best = self._best_so_far()
        size = state.get("micro_batch_size", {})
        if size.get("configured") == self.micro_batch_size:  # otherwise a new one was asked for
            self.micro_batch_size = size["used"]
        self._say_new_schedule(state.get("total", self.total))

    def _say_new_schedule(self, before: int) -> None:
        """The rate is a function of the last step too: it jumps where that was moved."""
        train, total = self.config.train, self.total
        if before != total and train.schedule != "constant":
            old, new = (learning_rate(self.step, end, train) for end in (before, total))
            self.world.say(
                f"train.schedule: {train.schedule} is now laid over {total:,} steps, not "
                f"{before:,}; the learning rate goes on at {new:.3g}, not {old:.3g}"
            )

    def _best_so_far(self) -> Best:
        """As the checkpoint has it; forgotten where its weights are wanted but not in this run."""
        checkpoint, checkpoints = self.run.checkpoint, self.run.checkpoints
        best = Best.of(checkpoint)
        if checkpoint is None or best.step is None or self.config.train.final_model != "best":
            return best
        kept = checkpoints.path(best.step)
        # a step of the same number may be of another course
        if kept.is_dir() and kept.parent.samefile(checkpoint.parent):
            return best
        self.world.say(
            f"train.final_model: the weights of step {best.step}, the best evaluation so far, were "
            f"not kept in {checkpoints.directory}; the best from step {self.step} on is taken"
        )
        return Best()

    def take_best(self) -> int:
        """Put the weights with the lowest evaluation loss back, where they are wanted.

        Returns the step that the weights are of now.
        """
        step = self.best.step
        if self.config.train.final_model != "best" or step is None:
            return self.step
        if step != self.step:
            self.world.say(f"taking the weights of step {step}, the best evaluation")
            load_weights(self.run.checkpoints.path(step), self.learnt)
        return step

    def _report(self, values: dict[str, Any]) -> None:
        self._display.log(values)
        if self._log:
            self._log.write(values)
        numbers = {name: value for name, value in values.items() if name != "step"}
        self.trackers.log(numbers, self.step, self._display.say)

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
        if self.micro_batch_size != self.config.train.micro_batch_size:
            values["micro_batch_size"] = self.micro_batch_size
        if self._utilization:
            values["peak_memory_gib"] = torch.cuda.max_memory_allocated() / GIB
            mfu = self._utilization.mfu(self._units, elapsed, self.world.size)
            values |= {"mfu": mfu} if mfu else {}
        self.train_seconds += elapsed
        self.units += self._units
        self._losses, self._size, self._units, self._since = [], 0, 0, now
        return values

    def _evaluate(self) -> dict[str, Any]:
        began = time.perf_counter()
        self._feed.settle()
        # each process has its own statistics of the rows it saw; saved are the main one's
        self.world.share(kept_buffers(self.model).values())
        while (metrics := self._evaluate_share()) is None:
            self._shrink()
        add_up(metrics, self.world)
        self._since += time.perf_counter() - began  # evaluation is not training time
        return {"step": self.step, **metrics.scalars()}

    def _evaluate_share(self) -> Metrics | None:
        """Evaluate what falls to this process; None when memory ran out in any of them."""
        metrics = self.world.together(self._evaluate_here)
        return None if self.world.sum([metrics is None])[0] else metrics

    def _evaluate_here(self) -> Metrics | None:
        try:
            return evaluate(
                *(self.model, self.data, self.data.eval, self.micro_batch_size),
                *(self.precision, self.world.rank, self.world.size),
            )
        except torch.OutOfMemoryError:
            if not self._can_retry:
                raise
            self.model.train()  # which evaluate was kept from putting back
            return None

    def _rows(self, indices: list[int]) -> str:
        rows = sorted(self.data.train.rows(indices))
        return f"{', '.join(map(str, rows[:20]))}{' …' if len(rows) > 20 else ''} of the data file"


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
