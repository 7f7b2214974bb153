"""What a training run will need, from its configuration: memory, hours, dollars.

`predict` needs no model and no GPU; `refuse_if_too_large` uses it when training starts, and
`calibration.record` compares it with the measurement at the end.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

from . import data, estimate
from .calibration import calibrated_hours
from .config import Config
from .data import TASK
from .errors import UserError
from .estimate import EstimateError, Gpu, Memory, ModelShape, Quote, Range, Training
from .estimate.targets import adapted
from .finetuning import STRATEGY
from .model_shape import model_shape
from .rows import local_path

BYTES_PER_TOKEN = 4  # of English under the vocabularies in use; other languages make more tokens
CPU = "cpu"


@dataclass(frozen=True)
class Prediction:
    """Memory of one GPU; hours, dollars and energy of the whole run, None where unknown."""

    model: str
    device: str
    gpu: Gpu | None
    shape: ModelShape
    training: Training
    timed: Training
    """The training as time sees it: sequences as long as the rows are."""
    memory: Memory
    tokens: float | None
    hours: Range | None = None
    usd: Range | None = None
    spot_usd: Range | None = None
    kwh: Range | None = None
    quotes: list[Quote] = field(default_factory=list)
    calibrated: bool = False
    """Whether the hours are from this project's own runs."""
    notes: list[str] = field(default_factory=list)

    @property
    def required_gib(self) -> float:
        """What the GPU must have: allocated memory, fragmentation, CUDA's context."""
        return required_gib(self.memory)

    @property
    def fits(self) -> bool | None:
        """None without a GPU of the table."""
        return estimate.fits(self.memory, self.gpu) if self.gpu else None


def required_gib(memory: Memory) -> float:
    """Memory that a GPU must have for this peak."""
    return memory.peak_gib * estimate.FRAGMENTATION + estimate.CONTEXT_GIB


def predict(
    config: Config,
    device: str,
    *,
    gpu_count: int = 1,
    parallelism: str = "single",
    tokens: float | None = None,
    mean_tokens: float | None = None,
    samples: float | None = None,
    strategy: str = STRATEGY,
    precision: str | None = None,
    shape: ModelShape | None = None,
    prices_file: Path | None = None,
    unlisted: bool = False,
) -> Prediction:
    """Predict a run on `device`: a GPU's name, or `cpu`; `unlisted` allows other devices too.

    `tokens` of the whole run and `mean_tokens` of a row are guessed from the data when they
    are not given; of images and sounds, which are of one size, the run's `samples` tell them.
    Raises EstimateError for what the tables do not know, and DataError for data that cannot be
    read.
    """
    notes: list[str] = []
    gpu = _find_gpu(device, unlisted)
    if gpu and parallelism == "fsdp" and not gpu.bf16_tflops:
        raise EstimateError(f"fsdp needs bf16, which the {gpu.name} does not have; use ddp there")
    shape = shape or model_shape(config)
    training = training_of(config, shape, gpu, strategy, gpu_count, parallelism)
    training = replace(training, precision=precision or training.precision)
    memory = estimate.training_memory(shape, training)
    if memory.basis != "formula":
        notes.append(f"memory is from {memory.basis}")
    if samples is not None and shape.kind in ("vision", "audio") and shape.tokens:
        tokens, mean_tokens = samples * shape.tokens, float(shape.tokens)
    if tokens is None or mean_tokens is None:
        guess = _guess(config, shape, notes if tokens is None else [])
        tokens, mean_tokens = tokens or guess[0], mean_tokens or guess[1]
    timed = _as_long_as_its_rows(config, shape, training, mean_tokens)
    found = Prediction(
        model=config.model.name_or_path,
        device=gpu.name if gpu else device,
        gpu=gpu,
        shape=shape,
        training=training,
        timed=timed,
        memory=memory,
        tokens=tokens,
    )
    if tokens is None:
        return replace(found, notes=notes)
    hours = calibrated_hours(config, found.device, shape, timed, tokens)
    calibrated = hours is not None
    if calibrated:
        notes.append("time is from this project's own runs on this device")
    elif gpu:
        hours = estimate.training_hours(shape, gpu, tokens, timed)
        notes.append("time is a range from public measurements; a run of yours narrows it")
    else:
        notes.append("no time: the speed of this device is not known until a run has ended on it")
    if gpu is None or hours is None:
        return replace(found, hours=hours, calibrated=calibrated, notes=notes)
    if not gpu.bf16_tflops and training.precision == "bf16":
        notes.append(f"the {gpu.name} has no bf16 units; train.precision auto takes fp16 there")
    notes.append("time and cost are of the training steps alone, without set-up and evaluation")
    offers = estimate.quotes(gpu.name, gpu_count, prices_file)
    return replace(
        found,
        hours=hours,
        usd=estimate.cost_usd(hours, gpu.name, gpu_count, prices_file=prices_file),
        spot_usd=estimate.cost_usd(hours, gpu.name, gpu_count, spot=True, prices_file=prices_file),
        kwh=estimate.energy_kwh(hours, gpu, gpu_count),
        quotes=offers,
        calibrated=calibrated,
        notes=notes,
    )


def _find_gpu(device: str, unlisted: bool) -> Gpu | None:
    try:
        return None if device == CPU else estimate.find_gpu(device)
    except EstimateError:
        if unlisted:
            return None
        raise


def refuse_if_too_large(
    config: Config,
    device: str,
    *,
    usable_gib: float | None = None,
    gpu_count: int = 1,
    parallelism: str = "single",
    tokens: float | None = None,
    mean_tokens: float | None = None,
    samples: float | None = None,
    precision: str | None = None,
    force: bool = False,
    say: Callable[[str], None] = print,
) -> Prediction | None:
    """Say the predicted peak; raise UserError, with the remedy, where it cannot fit.

    `usable_gib` is what the device reports; without it the table's value. `precision` is the one
    in use. Returns None where there is no formula for the model.
    """
    try:
        found = predict(
            config,
            device,
            gpu_count=gpu_count,
            parallelism=parallelism,
            tokens=tokens,
            mean_tokens=mean_tokens,
            samples=samples,
            precision=precision,
            unlisted=True,
        )
    except EstimateError as error:
        say(f"no prediction of memory: {error}")
        return None
    usable = usable_gib or (found.gpu.memory_gib if found.gpu else None)
    peak = f"{found.memory.peak_gib:.2f} GiB"
    if usable is None:
        say(f"predicted peak memory: {peak}, at the {found.memory.moment}")
        machine = _machine_gib() if device == "cpu" else None
        if machine is None or found.memory.peak_gib <= machine:
            return found
        return _refused(
            f"this will not fit: it needs about {peak} and this machine has {machine:.1f} GiB",
            found,
            machine,
            force,
            say,
        )
    say(
        f"predicted peak memory: {peak} allocated, at the {found.memory.moment}; "
        f"the {found.device} has {usable:.1f} GiB"
    )
    if found.required_gib <= usable:
        return found
    problem = (
        f"this will not fit: it needs about {found.required_gib:.1f} GiB ({peak} allocated, 10 % "
        f"for fragmentation, {estimate.CONTEXT_GIB:g} GiB for CUDA itself) and the "
        f"{found.device} has {usable:.1f}"
    )
    return _refused(problem, found, usable, force, say)


def _refused(
    problem: str, found: Prediction, usable_gib: float, force: bool, say: Callable[[str], None]
) -> Prediction:
    if not force:
        raise UserError(f"{problem}; {remedy(found, usable_gib)}; --force trains all the same")
    say(f"warning: {problem}; --force trains all the same")
    return found


def _machine_gib() -> float | None:
    """The memory of this machine; None where the system does not say (Windows)."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / estimate.GIB
    except (AttributeError, ValueError, OSError):
        return None


def remedy(found: Prediction, usable_gib: float) -> str:
    """The least harmful change that makes it fit, as an imperative."""
    for words, training in _lighter(found.training, found.shape):
        try:
            need = required_gib(estimate.training_memory(found.shape, training))
        except EstimateError:
            continue
        if need <= usable_gib:
            return f"{words} ({need:.1f} GiB)"
    return "no smaller batch or sequence fits: take a smaller model, or a larger or several GPUs"


def _lighter(training: Training, shape: ModelShape) -> Iterator[tuple[str, Training]]:
    """Changes to a training, the least harmful first, each with the words that ask for it."""
    batch = training.micro_batch_size
    batches = [size for size in range(batch - 1, 0, -1) if batch % size == 0]
    for extra in (False,) if training.activation_checkpointing else (False, True):
        also = "train.activation_checkpointing to true" if extra else ""
        for size in [*([batch] if extra else []), *batches]:
            smaller = f"train.micro_batch_size to {size}" if size < batch else ""
            changes = " and ".join(filter(None, (smaller, also)))
            accumulation = training.accumulation * batch // size
            yield (
                f"set {changes}",
                replace(
                    training,
                    micro_batch_size=size,
                    accumulation=accumulation,
                    activation_checkpointing=training.activation_checkpointing or extra,
                ),
            )
    smallest = replace(
        training,
        micro_batch_size=1,
        accumulation=training.accumulation * batch,
        activation_checkpointing=True,
    )
    length = 0 if shape.kind in ("vision", "audio") else training.max_seq_len // 2
    while length >= max(128, shape.tokens + 64):  # an image is not cut, and has a text beside it
        yield (
            f"set train.micro_batch_size to 1, train.activation_checkpointing to true and "
            f"train.max_seq_len to {length}",
            replace(smallest, max_seq_len=length),
        )
        length //= 2
    for strategy in ("lora", "qlora"):
        if training.strategy == "full" or (training.strategy, strategy) == ("lora", "qlora"):
            words = f"answer the template's question for the strategy with {strategy}"
            spread = training.parallelism
            if strategy == "qlora" and spread == "fsdp":  # does not share 4-bit weights here
                words, spread = f"{words} and for parallelism with ddp", "ddp"
            yield words, replace(smallest, strategy=strategy, parallelism=spread)


# ── From the configuration ──────────────────────────────────────────────────────────────────────


def training_of(
    config: Config,
    shape: ModelShape,
    gpu: Gpu | None,
    strategy: str,
    gpu_count: int,
    parallelism: str,
) -> Training:
    """What the configuration says of memory and time; `auto` precision as the trainer takes it."""
    train = config.train
    precision: str = train.precision
    if precision == "auto":
        precision = "fp32" if gpu is None else "bf16" if gpu.bf16_tflops else "fp16"
    lora = getattr(config.model, "lora", None)
    targets, in_tower = adapted(lora.target_modules if lora else "all-linear", shape)
    return Training(
        strategy=strategy,
        precision=precision,
        optimizer=getattr(train, "optimizer", "adamw"),
        micro_batch_size=train.micro_batch_size,
        max_seq_len=getattr(train, "max_seq_len", 0) or shape.tokens or 1,
        accumulation=max(1, train.global_batch_size // (train.micro_batch_size * gpu_count)),
        activation_checkpointing=train.activation_checkpointing,
        padded=shape.kind not in ("vision", "audio"),
        loss_head=getattr(train, "loss_head", "full"),
        classifier=TASK not in ("llm", "multimodal"),
        lora_rank=lora.r if lora else 16,
        lora_dropout=lora.dropout if lora else 0.0,
        lora_targets=targets,
        lora_in_tower=in_tower,
        parallelism=parallelism,
        gpu_count=gpu_count,
    )


# ── How much there is to learn ──────────────────────────────────────────────────────────────────


def _as_long_as_its_rows(
    config: Config, shape: ModelShape, training: Training, mean_tokens: float | None
) -> Training:
    """The training as time sees it: memory is that of the longest rows, time that of the mean."""
    if shape.kind in ("vision", "audio") and shape.tokens:
        return replace(training, max_seq_len=shape.tokens)
    if getattr(config.train, "packing", False):
        return replace(training, padded=False)  # sequences are full
    if mean_tokens is None:
        return training
    return replace(training, max_seq_len=max(1, min(round(mean_tokens), training.max_seq_len)))


def _guess(
    config: Config, shape: ModelShape, notes: list[str]
) -> tuple[float | None, float | None]:
    """(tokens of the whole run, tokens of a row), guessed from the data's bytes."""
    train = config.train
    if local_path(config.data.train) is None:
        notes.append("no time: data.train is no local file; give --tokens")
        return None, None
    lengths = _lengths(config, shape)
    if not lengths:
        return None, None
    if Path(config.data.train).parent == Path("data/sample"):
        notes.append("warning: these are the tokens of the sample; name your data, or --tokens")
    if not (shape.kind in ("vision", "audio") and shape.tokens):
        notes.append(f"tokens are guessed from the data: {BYTES_PER_TOKEN} bytes a token")
    mean = sum(lengths) / len(lengths)
    if train.max_steps is not None:
        per_sequence = train.max_seq_len if getattr(train, "packing", False) else mean
        return train.max_steps * train.global_batch_size * per_sequence, mean
    return sum(lengths) * train.epochs, mean


def _lengths(config: Config, shape: ModelShape) -> list[float]:
    """Tokens of each training row."""
    rows, _ = data.load_examples(config)  # what is held out is not trained on
    if shape.kind in ("vision", "audio") and shape.tokens:
        return [float(shape.tokens) for _ in rows]
    image = shape.tokens if shape.kind == "vision_language" else 0
    longest = config.train.max_seq_len
    return [min(_text_bytes(row) / BYTES_PER_TOKEN + image, longest) for row in rows]


def _text_bytes(value: Any) -> int:
    """Bytes of the text in a row, whatever its task keeps it in."""
    if isinstance(value, str):
        return len(value.encode())
    if isinstance(value, Mapping):
        return sum(map(_text_bytes, value.values()))
    if isinstance(value, (list, tuple)):
        return sum(map(_text_bytes, value))
    if is_dataclass(value):
        texts = (f.name for f in fields(value) if f.name not in ("label", "image", "row", "where"))
        return sum(_text_bytes(getattr(value, name)) for name in texts)
    return 0
