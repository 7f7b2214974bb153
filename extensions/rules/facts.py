"""What the rules know: the answers so far, what the folder holds, and what the estimate says."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any, NamedTuple

SCRATCH = "scratch"
NO_GPU = "none"
FULL, LORA, QLORA = "full", "lora", "qlora"
SINGLE, DDP, FSDP = "single", "ddp", "fsdp"

STRATEGY_LABELS = {FULL: "Full", LORA: "LoRA", QLORA: "QLoRA"}
KINDS = {
    "llm": ("decoder",),
    "text_classification": ("encoder", "decoder"),
    "image_classification": ("vision",),
    "audio_classification": ("audio",),
    "multimodal": ("vision_language",),
}
# Rows, tokens of a row, epochs: what is assumed until there is a data file. A sample of an image
# or audio model has the tokens that the model makes of it.
NOMINAL_ROWS = 10_000
EVAL_FRACTION = 0.1  # as in configs/train.yaml
NOMINAL_TOKENS = {"llm": 500, "text_classification": 128}
NOMINAL_TEXT_BESIDE_IMAGE = 128
# These hear sounds of any length, in frames of 400 samples every 320 at 16 kHz; a project for
# sounds gives its model ten seconds until it is told otherwise.
ANY_LENGTH = ("wav2vec2", "hubert")
HEARD_TOKENS = (10 * 16_000 - 400) // 320 + 1
EPOCHS = {"llm": 3, "multimodal": 3, "text_classification": 4}
NEVER_PROPOSED = ("GH200",)  # its processor is an ARM, for which some packages have no wheel
LORA_RANK, LORA_DROPOUT = 16, 0.05


_SIZE_IN_NAME = re.compile(r"(?<![\w.])(\d{1,4}(?:\.\d{1,3})?)([bBmM])(?![\w.])")


class Recommendation(NamedTuple):
    """A value to start from, one sentence why, what else there is, and what would change it."""

    value: Any
    reason: str
    rejected: tuple[tuple[Any, str], ...] = ()
    """Other values, each with a sentence why not."""
    changes: str = ""


class Plan(NamedTuple):
    """Which weights are trained, and how the work is spread."""

    strategy: str
    parallelism: str = SINGLE


class Sizes(NamedTuple):
    """What decides the memory of one step besides the plan."""

    max_seq_len: int
    micro_batch_size: int
    global_batch_size: int
    activation_checkpointing: bool


@dataclass
class Facts:
    """One set of answers, and everything that follows from it without deciding anything."""

    answers: Mapping[str, Any]
    estimate: Any
    recommended: Mapping[str, Sequence[str]]
    offered: Mapping[str, Sequence[Any]]
    found: Any = None
    detected: Callable[[], Sequence[str]] = tuple

    def __post_init__(self) -> None:
        self._shapes: dict[str, Any] = {}
        self._guessed: set[str] = set()
        self._unread: dict[str, str] = {}
        self._unloadable: dict[str, str] = {}
        self._memories: dict[Any, Any] = {}
        self._offers: dict[Any, Any] = {}

    # ── Answers ──────────────────────────────────────────────────────────────────────────────────

    @property
    def task(self) -> str:
        """The answered task, or nothing."""
        return str(self.answers.get("task") or "")

    @property
    def model(self) -> str:
        """The answered base model, or nothing."""
        return str(self.answers.get("base_model") or "")

    @property
    def budget_usd(self) -> float:
        """0 where it is not known."""
        budget = self.answers.get("budget_usd") or 0
        return float(budget) if isinstance(budget, int | float) else 0.0

    @property
    def is_sensitive(self) -> bool:
        """Whether the data may not leave."""
        return self.answers.get("sensitive_data") is True

    @cached_property
    def gpu(self) -> Any:
        """The answered GPU; None for the CPU."""
        name = self.answers.get("gpu")
        return None if name in (None, NO_GPU) else self.estimate.gpus().get(name)

    @property
    def gpu_count(self) -> int:
        """The answered number of GPUs, at least 1."""
        count = self.answers.get("gpu_count") or 1
        return max(1, count) if isinstance(count, int) and self.gpu is not None else 1

    @property
    def gpu_text(self) -> str:
        """`L4's 22.0 GiB`, or of each of several."""
        gib = f"{self.gpu.memory_gib:.1f} GiB"
        return (
            f"{self.gpu.name}'s {gib}" if self.gpu_count == 1 else f"{gib} of each {self.gpu.name}"
        )

    def offers(self, question: str, value: Any) -> bool:
        """Whether a choice is offered; also when nothing is known of the question."""
        return value in self.offered.get(question, (value,))

    @property
    def can_use_several(self) -> bool:
        """Whether any way to use several GPUs is offered."""
        return self.offers("parallelism", DDP) or self.offers("parallelism", FSDP)

    # ── The model ────────────────────────────────────────────────────────────────────────────────

    @property
    def shape(self) -> Any:
        """The shape of the answered model; None where it is not known."""
        return self.shape_of(self.model)

    def shape_of(self, model: str) -> Any:
        """The shape of a preset, its instruct variant or a local folder; else None."""
        if model not in self._shapes:
            self._shapes[model] = self._read_shape(model)
        return self._shapes[model]

    def _read_shape(self, model: str) -> Any:
        presets = self.estimate.models()
        plain = re.sub(r"(?i)-(instruct|chat|base|it)$", "", model)
        if model in presets or plain in presets:
            return _as_configured(presets.get(model) or presets[plain])
        if not model.startswith((".", "/", "~")):
            return self._shape_by_name(model)
        try:
            config = json.loads((Path(model).expanduser() / "config.json").read_text("utf-8"))
        except (OSError, RuntimeError) as error:  # not there yet; ~someone; nested without end
            if isinstance(error, RecursionError):
                self._unloadable[model] = "is nested too deeply"
            return None
        except ValueError:
            self._unloadable[model] = "is not JSON in UTF-8"
            return None
        if not isinstance(config, dict):
            self._unloadable[model] = "is not a JSON object"
            return None
        try:
            return _as_configured(self.estimate.shape_from_config(config))
        except self.estimate.EstimateError as error:
            text = str(error).removeprefix("config.json: ").split(", only for")[0]
            self._unread[model] = " ".join(text.split())[:120]
            return None

    @property
    def unknown_size(self) -> str:
        """That the size of the answered model is not known, and why, where a file is to blame."""
        why = "" if self.shape is not None else self._unread.get(self.model, "")
        return f"The size of this model is not known here{f' (config.json: {why})' if why else ''}"

    @property
    def unloadable(self) -> str:
        """What is wrong with the answered folder's config.json that nothing can load."""
        return "" if self.shape is not None else self._unloadable.get(self.model, "")

    def _shape_by_name(self, model: str) -> Any:
        """A usual shape of the size in a name such as `org/model-7B-chat`; None without one."""
        sizes = _SIZE_IN_NAME.findall(model.rsplit("/", 1)[-1])
        kinds = KINDS.get(self.task)
        if len(sizes) != 1 or not kinds:
            return None
        number, unit = sizes[0]
        parameters = float(number) * (1e9 if unit in "bB" else 1e6)
        try:
            shape = _usual_shape(self.estimate, parameters, kinds[-1])
        except self.estimate.EstimateError:
            return None
        self._guessed.add(model)
        return shape

    def is_guessed(self, model: str) -> bool:
        """Whether the size of a model is from its name alone: advice may use it, refusals not."""
        self.shape_of(model)
        return model in self._guessed

    def described(self, model: str) -> str:
        """`Qwen/Qwen3-4B (4.0 B parameters)`."""
        shape = self.shape_of(model)
        by_name = ", by its name" if self.is_guessed(model) else ""
        return f"{model} ({size(shape)} parameters{by_name})" if shape else model

    # ── The data ─────────────────────────────────────────────────────────────────────────────────

    def counted(self, key: str) -> int:
        """A number that was counted in the data file and stored as an answer; 0: not known."""
        facts = self.answers.get("data_facts")
        number = facts.get(key) if isinstance(facts, dict) else None
        return int(number) if isinstance(number, int | float) and 0 < number < 1e12 else 0

    @property
    def epochs(self) -> int:
        """Passes over the data."""
        return EPOCHS.get(self.task, 5)

    def tokens(self, shape: Any) -> tuple[float, str]:
        """Tokens of a whole run, and where that number is from."""
        rows = self.counted("rows") or NOMINAL_ROWS
        per_row = self.row_tokens(shape)
        source = f"{rows:,} rows of {per_row:,} tokens, {self.epochs} epochs"
        known = bool(self.counted("rows"))
        # the project holds a share of the rows out where there is no file for it
        held_out = EVAL_FRACTION if known and not self.answers["data_facts"].get("eval") else 0.0
        tokens = rows * (1 - held_out) * per_row * self.epochs
        return tokens, source if known else f"assuming {source}"

    def row_tokens(self, shape: Any) -> int:
        """Tokens of one row: counted, assumed, or what the model makes of an image or a sound."""
        text = self.counted("mean_tokens")
        if self.task in NOMINAL_TOKENS:
            return text or int(NOMINAL_TOKENS[self.task])
        beside = (text or NOMINAL_TEXT_BESIDE_IMAGE) if self.task == "multimodal" else 0
        return int(getattr(shape, "tokens", 0) or 1000) + beside

    # ── The estimate ─────────────────────────────────────────────────────────────────────────────

    def precision(self, gpu: Any) -> str:
        """What `train.precision: auto` chooses on that GPU."""
        if gpu is None:
            return "fp32"
        return "bf16" if gpu.bf16_tflops else "fp16"

    def training(self, plan: Plan, sizes: Sizes, gpu: Any, count: int) -> Any:
        """The estimate's words for a plan, as the project's own `scripts/estimate.py` has them."""
        per_pass = sizes.micro_batch_size * count
        return self.estimate.Training(
            strategy=plan.strategy,
            precision=self.precision(gpu),
            micro_batch_size=sizes.micro_batch_size,
            max_seq_len=sizes.max_seq_len,
            accumulation=max(1, sizes.global_batch_size // per_pass),
            activation_checkpointing=sizes.activation_checkpointing,
            padded=True,
            classifier=self.task.endswith("_classification"),
            lora_rank=1 if plan.strategy == FULL else LORA_RANK,
            lora_dropout=0.0 if plan.strategy == FULL else LORA_DROPOUT,
            lora_in_tower=False,  # the pattern in configs/train.yaml names the language model
            parallelism=plan.parallelism,
            gpu_count=count,
        )

    def memory(
        self, shape: Any, plan: Plan, sizes: Sizes, gpu: Any = None, count: int | None = None
    ) -> Any:
        """Predicted peak on each GPU (default: those answered); None where there is no formula."""
        gpu = gpu or self.gpu
        count = count or self.gpu_count
        key = (shape, plan, sizes, gpu, count)
        if key not in self._memories:
            try:
                training = self.training(plan, sizes, gpu, count)
                self._memories[key] = self.estimate.training_memory(shape, training)
            except self.estimate.EstimateError:
                self._memories[key] = None
        return self._memories[key]

    def needed_gib(self, memory: Any) -> float:
        """The peak, on a GPU with what the driver and the allocator keep besides."""
        if self.gpu is None:
            return float(memory.peak_gib)
        return float(memory.peak_gib * self.estimate.FRAGMENTATION + self.estimate.CONTEXT_GIB)

    def fits(self, memory: Any, gpu: Any = None) -> bool:
        """Whether that is expected to run."""
        return memory is not None and bool(self.estimate.fits(memory, gpu or self.gpu))

    def can_hold(self, memory: Any) -> bool:
        """Whether training would start there, by its own rule; where nothing is known it may."""
        return memory is None or self.fits(memory)

    def hours(
        self, shape: Any, plan: Plan, sizes: Sizes, gpu: Any = None, count: int | None = None
    ) -> Any:
        """A Range of hours for a whole run; None where the estimate has no rate."""
        gpu, count = gpu or self.gpu, count or self.gpu_count
        if gpu is None or shape is None:
            return None
        try:
            training = self.training(plan, sizes, gpu, count)
            # memory is that of the longest rows, time that of the mean; packed rows fill theirs
            if self.task == "llm":
                timed = replace(training, padded=False)
            else:
                mean = self.row_tokens(shape)
                timed = replace(training, max_seq_len=min(mean, sizes.max_seq_len or mean))
            return self.estimate.training_hours(shape, gpu, self.tokens(shape)[0], timed)
        except self.estimate.EstimateError:
            return None

    def offer(self, gpu: Any, count: int) -> Any:
        """The cheapest quote for so many on demand; None where no price is known to hold."""
        key = (gpu.name, count)
        if key not in self._offers:
            quotes = self.estimate.quotes(gpu.name, count)
            self._offers[key] = next((quote for quote in quotes if not quote.stale), None)
        return self._offers[key]

    def usd(self, hours: Any, gpu: Any, count: int) -> Any:
        """A Range of dollars at the cheapest provider; None where hours or prices are unknown."""
        offer = self.offer(gpu, count) if hours is not None else None
        if offer is None:
            return None
        price = offer.usd_per_hour
        return self.estimate.Range(hours.low * price, hours.high * price)


def _as_configured(shape: Any) -> Any:
    """The shape with as long a sound as the project gives it."""
    if shape.kind == "audio" and shape.family.startswith(ANY_LENGTH):
        return replace(shape, tokens=HEARD_TOKENS)
    return shape


@cache
def _usual_shape(estimate: Any, parameters: float, kind: str) -> Any:
    """The estimate searches for it, and every question asks anew."""
    return estimate.shape_from_parameters(parameters, kind)


def size(shape: Any) -> str:
    """`4.0 B` or `135 M`."""
    billions = float(shape.params) / 1e9
    return f"{billions:.1f} B" if billions >= 1 else f"{billions * 1000:.0f} M"


def span(low: float, high: float) -> str:
    """`3` or `2 to 5`: a range as a person says it."""
    digits = 0 if high >= 10 else 1
    texts = [f"{value:.{digits}f}".removesuffix(".0") for value in (low, high)]
    if texts[1] == "0":
        return "less than 0.1"
    texts[0] = "0.1" if texts[0] == "0" else texts[0]
    return texts[0] if texts[0] == texts[1] else " to ".join(texts)


def millions(number: float) -> str:
    """`15 M` or `0.3 M`."""
    return f"{number / 1e6:,.0f} M" if number >= 9.5e6 else f"{number / 1e6:.1f} M"


def trained(strategy: str) -> str:
    """`full training` or `LoRA`, within a sentence."""
    return "full training" if strategy == FULL else STRATEGY_LABELS[strategy]


def duration(hours: Any) -> str:
    """A Range of hours: `20 to 50 minutes`, `3 to 7 hours`, `2 to 5 days`."""
    if hours.high < 1 / 60:
        return "less than a minute"
    if hours.high < 2:
        return f"{span(hours.low * 60, hours.high * 60)} minutes"
    if hours.low > 48:
        return f"{span(hours.low / 24, hours.high / 24)} days"
    return f"{span(hours.low, hours.high)} hours"
