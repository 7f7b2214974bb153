"""The configuration: every key of `configs/train.yaml`, with its default and its limits."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from .errors import ConfigError
from .finetuning import FinetuningOptions
from .settings import Settings
from .task_options import ScratchOptions, TaskDataOptions, TaskTrainOptions
from .tracking_options import TrackingConfig

SCRATCH = "scratch"


class ModelConfig(FinetuningOptions):
    """What is trained."""

    name_or_path: str = Field(min_length=1)
    """A hub id, a local directory in the Hugging Face layout, or `scratch` for random weights."""
    revision: str | None = None
    """Branch, tag or commit of the hub id; pin a commit to make the run repeatable."""
    scratch: ScratchOptions = ScratchOptions()
    """Size of the random model; only read when name_or_path is `scratch`."""


class DataConfig(TaskDataOptions):
    """What it is trained on."""

    train: str = Field(min_length=1)
    """A file (CSV, JSONL, Parquet, text), a folder of them, or a hub id."""
    eval: str | None = None
    """Held-out data; when null, eval_fraction of the training rows is split off."""
    eval_fraction: float = Field(default=0.1, gt=0.0, lt=1.0)
    """Share of the rows split off by content hash (equal rows never land on both sides)."""


class TrainConfig(TaskTrainOptions):
    """How it is trained."""

    output_dir: Path
    """The run's folder: config, metrics, checkpoints, final model, report."""
    seed: NonNegativeInt = 0
    """Seeds initialisation, order of the data and dropout."""
    epochs: PositiveFloat = 1.0
    """Passes over the training data; ignored when max_steps is set."""
    max_steps: PositiveInt | None = None
    """Optimizer steps."""
    micro_batch_size: PositiveInt = 8
    """Sequences in one forward pass; the memory knob."""
    global_batch_size: PositiveInt = 32
    """Sequences in one optimizer step; a multiple of micro_batch_size."""
    learning_rate: PositiveFloat = 2e-5
    """Peak learning rate of AdamW."""
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    """Shape of the decay after the warm-up."""
    warmup_steps: float = Field(default=0.05, ge=0.0)
    """Steps of linear warm-up; below 1 it is a share of all steps."""
    weight_decay: float = Field(default=0.0, ge=0.0)
    """Decoupled weight decay on matrices (not on biases and norms)."""
    max_grad_norm: PositiveFloat = 1.0
    """Gradients are clipped to this global L2 norm."""
    max_seq_len: PositiveInt = 512
    """Tokens in one sequence; longer rows are cut and the count is reported."""
    precision: Literal["auto", "bf16", "fp16", "fp32"] = "auto"
    """auto: bf16 from Ampere on, fp16 with loss scaling on older GPUs, fp32 on CPU."""
    activation_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, about a third slower."""
    compile: bool = False
    """Let torch.compile make the model's kernels: minutes at the start, then faster steps."""
    profile_steps: NonNegativeInt = 0
    """Steps that a profiler records, after the first six, to profile/ in the run's folder."""
    log_every: PositiveInt = 10
    """Steps between lines of metrics.jsonl."""
    eval_every: PositiveInt | None = None
    """Steps between evaluations; when null, once at the end."""
    save_every: PositiveInt = 200
    """Steps between checkpoints."""
    keep_checkpoints: PositiveInt = 2
    """Newest checkpoints kept."""
    early_stopping_patience: PositiveInt | None = None
    """Stop after this many evaluations in a row without a lower eval_loss; when null, never."""
    final_model: Literal["last", "best"] = "last"
    """best: the weights with the lowest eval_loss are kept, and go into final/."""
    resume: str = "auto"
    """auto: go on from the newest whole checkpoint. never: start over, the old run is kept aside.
    Or the path of a checkpoint; those of later steps in output_dir are then replaced."""

    @model_validator(mode="after")
    def _batch_sizes_agree(self) -> Self:
        if self.global_batch_size % self.micro_batch_size:
            nearest = max(1, round(self.global_batch_size / self.micro_batch_size))
            raise ValueError(
                f"train.global_batch_size ({self.global_batch_size}) must be a multiple of "
                f"train.micro_batch_size ({self.micro_batch_size}); "
                f"the nearest is {nearest * self.micro_batch_size}"
            )
        return self

    @model_validator(mode="after")
    def _best_needs_evaluations(self) -> Self:
        if self.eval_every is None:
            for key, wanted in (
                ("early_stopping_patience", self.early_stopping_patience is not None),
                ("final_model: best", self.final_model == "best"),
            ):
                if wanted:
                    raise ValueError(f"train.{key} needs evaluations; set train.eval_every")
        return self


class Config(Settings):
    """The whole configuration."""

    model: ModelConfig
    data: DataConfig
    train: TrainConfig
    tracking: TrackingConfig = TrackingConfig()

    @model_validator(mode="after")
    def _adaptation_needs_weights(self) -> Self:
        if self.model.needs_pretrained and self.model.name_or_path == SCRATCH:
            raise ValueError(
                "model.name_or_path: adapters need pretrained weights and `scratch` has none; "
                "name a hub id or a local model"
            )
        return self


def load_config(argv: Sequence[str] | None = None) -> Config:
    """Read the configuration from `argv` (default: the command line). Raises ConfigError."""
    config, _ = Config.load(argv)
    return config


def load_config_and_options(
    parser: argparse.ArgumentParser, argv: Sequence[str] | None = None
) -> tuple[Config, argparse.Namespace]:
    """Like load_config, for a script with options of its own in `parser`."""
    return Config.load(argv, parser)


def load_trained_config(
    parser: argparse.ArgumentParser, argv: Sequence[str] | None = None
) -> tuple[Config, argparse.Namespace]:
    """For scripts that work on a trained model, `--model FOLDER`: its run's config is the base.

    `--config` files and `--section.key value` pairs override it.
    """
    from .registry import model_folder  # which reads run records, and those know Config

    argv = list(sys.argv[1:] if argv is None else argv)
    add_model_option(parser)
    known = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    known.add_argument("--model", type=model_folder, default=parser.get_default("model"))
    model = known.parse_known_args(argv)[0].model
    kept = model.parent / "config.yaml"
    if kept.is_file():
        argv = ["--config", str(kept), *argv]
    elif not {"--config", "--help", "-h"} & {word.split("=")[0] for word in argv}:
        runs = sorted(str(path.parent) for path in Path("models").glob("*/config.yaml"))
        there = f" (there is {', '.join(runs)})" if runs else ""
        raise ConfigError(
            f"{kept}: no such file; train first, or name another run{there}: "
            "`make evaluate RUN=models/…` or `--model models/…/final`"
        )
    return Config.load(argv, parser)


def add_model_option(parser: argparse.ArgumentParser) -> None:
    """Let a script take `--model`: a folder, or `registry:NAME@ALIAS`."""
    from .registry import model_folder

    parser.add_argument(
        "--model",
        type=model_folder,
        default=Path("models/run/final"),
        help="folder of a trained model, or registry:NAME@ALIAS",
    )


def write_schema(path: Path) -> None:
    """Write the JSON schema that editors use to complete and check the YAML files."""
    schema = json.dumps(Config.model_json_schema(), indent=2)
    path.write_text(schema + "\n", encoding="utf-8")
