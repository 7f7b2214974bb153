"""Training from a configuration: parse, build, train, save.

Every optimizer step depends only on the configuration, the data and the step's number:
the rows of a step and the seed of its dropout are functions of (seed, step). So a run that
was killed and goes on from a checkpoint computes what it would have computed anyway.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from . import calibration
from .blocks import compile_blocks
from .checkpoints import CARD, write_whole
from .config import Config
from .data import TASK, Dataset, load, sources
from .errors import EXIT_STOPPED, ConfigError, UserError
from .finetuning import STRATEGY, num_parameters, wrap
from .loop import Loop
from .model import build_model, check, new_modules
from .model_card import write_card
from .optimization import Precision, make_optimizer, pick_precision
from .parallel import PARALLELISM, World, place, start, whole_model
from .prediction import Prediction, refuse_if_too_large
from .pretrained import base_commit, save_trained
from .pretrained import load as load_pretrained
from .processor import PROCESSOR_CLASS, get_processor
from .report import write_report
from .rows import content_sha256
from .runs import Run, environment, plan_run, read_json, run_of
from .steps import check_batch_sizes, seed_everything, total_steps
from .tracking import Trackers, start_trackers
from .tracking import check as check_trackers
from .training_state import Best, kept_buffers, load_checkpoint
from .utilization import tokens_per_unit

GIB = 2**30


@dataclass(frozen=True)
class Result:
    """What a run ended with; `model` is None when there was nothing left to do."""

    exit_code: int
    run: Run
    model: Any = None
    processor: Any = None


def train(config: Config, force: bool = False) -> Result:
    """Train as configured; exit code 0 is done, 75 stopped by a signal with a checkpoint.

    `force`: also where the prediction says that memory will not do. Raises UserError (and its
    kinds) for what the user can mend.
    """
    check_trackers(config)
    with start() as world:
        result = _train(config, world, force)
        if result.exit_code == 0:
            world.say(f"next: make evaluate RUN={result.run.path}")
        return result


def _train(config: Config, world: World, force: bool) -> Result:
    precision = pick_precision(config.train.precision, world.device)
    check_batch_sizes(config.train, world.size)
    run = world.on_main(lambda: plan_run(config, content_sha256(sources(config.data)), say=print))
    commit = world.on_main(lambda: _commit(config, run))
    pinned = _pinned(config, commit)
    processor = _processor(pinned, run)
    data = load(config, processor)
    total = total_steps(config, len(data.train))
    if _is_complete(config, run, total):
        world.say(
            f"nothing to train: {run.path} is complete at step {run.start}; raise train.max_steps "
            "to go on, or name another train.output_dir for a new run"
        )
        return Result(0, run)

    predicted = world.on_main(lambda: _predict(pinned, data, world, precision, total, force))
    model = place(_build(pinned, processor, data, precision), world, precision)
    model.train()
    parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
    optimizer = make_optimizer(parameters, config.train)
    # before the first pass: a sharded model may use the weights it gathered for that again
    learnt = {**parameters, **kept_buffers(model)}
    state = load_checkpoint(run.checkpoint, learnt, optimizer) if run.checkpoint else None
    check(model, config, world.device)
    if config.train.compile:
        compile_blocks(model)

    world.on_main(lambda: _open(config, run, processor, total))
    facts = _facts(config, data, model, parameters, precision, world)
    facts["base_commit"] = commit
    trackers = start_trackers(config, run, facts) if world.is_main else Trackers()
    with trackers:
        loop = Loop(
            *(config, run, data, model, parameters, optimizer, precision, world, total, trackers)
        )
        if state:
            loop.restore(state)
        trackers.status = _run(loop, {**facts, "micro_batch_size": loop.micro_batch_size})
        if trackers.status == "stopped":
            world.say(
                f"stopped at step {loop.step} of {total}; run the same command again to go on"
            )
            return Result(EXIT_STOPPED, run, model, processor)

        final_step = loop.take_best()
        model = whole_model(
            model, loop.learnt, world, lambda: _build(pinned, processor, data, precision)
        )
        world.on_main(lambda: run.record(final_step=final_step))
        world.on_main(lambda: _finish(loop, model, processor, predicted))
    return Result(0, run, model, processor)


def _commit(config: Config, run: Run) -> str | None:
    """The base model's commit: that of the checkpoint if any, as the hub may have a newer one."""
    begun = read_json(run_of(run.checkpoint) / "run.json") if run.checkpoint else {}
    return begun.get("base_commit") or base_commit(config.model)


def _pinned(config: Config, commit: str | None) -> Config:
    """The configuration with a commit in place of a branch, so that all files are of the same."""
    model = config.model.model_copy(update={"revision": commit or config.model.revision})
    return config.model_copy(update={"model": model})


def _is_complete(config: Config, run: Run, total: int) -> bool:
    """Whether nothing is left to train. Raises ConfigError for a checkpoint beyond the end."""
    over = Best.of(run.checkpoint).is_over(config.train.early_stopping_patience)
    # killed between the last checkpoint and the final model: go on, and write that
    if (over or run.start >= total) and run.final.is_dir():
        return True
    if run.start > total:
        raise ConfigError(
            f"{run.checkpoint} is past the {total} steps to train; raise train.max_steps or "
            "train.epochs, or set train.resume to never to start over"
        )
    return False


def _build(config: Config, processor: Any, data: Dataset, precision: Precision) -> Any:
    """The model as it is before the first step, on the CPU."""
    # what is trained needs fp32; weights that stay frozen take the compute dtype
    dtype = precision.frozen if config.model.needs_pretrained else torch.float32
    seed_everything(config.train.seed, 0)
    model = build_model(config, processor, data, dtype)
    model = wrap(model, config.model, new_modules(model))
    if config.train.activation_checkpointing:
        model.activation_checkpointing_enable({"use_reentrant": False})
    return model


def _predict(
    config: Config, data: Dataset, world: World, precision: Precision, total: int, force: bool
) -> Prediction | None:
    """Say the peak of memory; raises UserError, with the remedy, where it cannot fit."""
    mean = float(data.train.lengths().mean())
    # an image or a sound is one unit: how many tokens it makes, the model's shape tells
    is_text = mean > 1
    samples = total * config.train.global_batch_size
    on_gpu = world.device.type == "cuda"
    return refuse_if_too_large(
        config,
        _device_name(world.device),
        usable_gib=torch.cuda.get_device_properties(world.device).total_memory / GIB
        if on_gpu
        else None,
        gpu_count=world.size,
        parallelism=PARALLELISM if world.size > 1 else "single",
        tokens=samples * mean if is_text else None,
        mean_tokens=data.train.mean_length() if is_text else None,
        samples=samples,
        precision=precision.name,
        force=force,
    )


def _open(config: Config, run: Run, processor: Any, total: int) -> None:
    run.create(config, say=print)
    if run.checkpoint:
        print(f"going on from {run.checkpoint} to step {total}")
    if not (run.checkpoint and run.processor.is_dir()):  # whoever goes on must find the same one
        write_whole(run.processor, lambda path: processor.save_pretrained(path))


def _facts(
    config: Config,
    data: Dataset,
    model: Any,
    parameters: Mapping[str, nn.Parameter],
    precision: Precision,
    world: World,
) -> dict[str, Any]:
    """What run.json says of the run."""
    return {
        "task": TASK,
        "strategy": STRATEGY,
        "seed": config.train.seed,
        "data_sha256": data.sha256,
        "eval_sha256": content_sha256(sources(config.data)[-1:]),
        **{f"{split}_rows": getattr(data, split).num_rows for split in ("train", "eval")},
        "device": _device_name(world.device),
        "processes": world.size,
        "precision": precision.name,
        "parameters": num_parameters(model),
        "trained_parameters": sum(p.numel() for p in parameters.values()),
        **environment(),
    }


def _run(loop: Loop, facts: Mapping[str, Any]) -> str:
    """Let the loop run, and leave what became of it in run.json."""
    record = loop.run.record if loop.world.is_main else lambda **_: None
    before_s, status = loop.run.seconds_before(), "failed"
    record(**facts, status="running")
    try:
        status = loop.run_all()
    except torch.OutOfMemoryError as error:
        raise UserError(
            f"out of GPU memory at step {loop.step + 1} with train.micro_batch_size "
            f"{loop.micro_batch_size}; halve it (the global batch stays the same), or "
            "set train.activation_checkpointing"
        ) from error
    finally:
        record(status=status, steps=loop.step, seconds=round(before_s + loop.seconds, 1))
    return status


def _finish(loop: Loop, model: Any, processor: Any, predicted: Prediction | None) -> None:
    """Write the trained model, the report, and what the prediction was worth."""
    run = loop.run
    # it would describe the model of before
    (run.path / "evaluation.json").unlink(missing_ok=True)

    def write(path: Path) -> None:
        save_trained(model, processor, path)
        write_card(path, run.path, run.final / CARD)

    write_whole(run.final, write)
    report = write_report(run.path)
    if predicted:
        on_gpu = loop.world.device.type == "cuda"
        measured = calibration.Measured(
            tokens=loop.units * tokens_per_unit(predicted.shape),
            seconds=loop.train_seconds,
            steps=loop.step - run.start,
            peak_gib=torch.cuda.max_memory_allocated() / GIB if on_gpu else None,
        )
        calibration.record(run, loop.config, predicted, measured)
    print(f"trained model: {run.final}\nreport: {report}")


def _processor(config: Config, run: Run) -> Any:
    """The checkpoint's own processor when training goes on, otherwise the model's."""
    if run.checkpoint:
        return load_pretrained(PROCESSOR_CLASS, str(run_of(run.checkpoint) / "processor"))
    return get_processor(config)


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
