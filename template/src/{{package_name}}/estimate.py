"""Memory, time and cost of a training run, from the shape of the model alone.

Standard library only and quick to import: the project's questionnaire, the doctor and
`scripts/estimate.py` all use this file. Bytes are those that PyTorch allocates on one GPU.
In the formulas T is tokens in a micro-batch, h hidden, hq heads * head_dim, hk kv_heads *
head_dim, f intermediate, V vocab. Each row of the tables beside this file names its source.
"""

import functools
from collections.abc import Mapping
from dataclasses import dataclass, replace

GIB = 2**30
CONTEXT_GIB = 0.7  # CUDA context and libraries; unconfirmed until measured
FRAGMENTATION = 1.10  # reserved over allocated memory


class EstimateError(ValueError):
    """No estimate is possible; the text says which value is missing or unknown."""


@dataclass(frozen=True)
class Gpu:
    """Memory that PyTorch can use, and dense 16-bit rates (no bf16 before Ampere)."""

    name: str
    memory_gib: float
    bf16_tflops: float | None
    fp16_tflops: float
    bandwidth_gbps: float
    compute_capability: tuple[int, int]
    watts: int


@dataclass(frozen=True)
class ModelShape:
    """What decides a transformer's memory and speed; an encoder has a head for two labels."""

    kind: str  # decoder or encoder
    params: int
    hidden: int
    intermediate: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    vocab: int
    tied: bool
    family: str
    positions: int = 0  # rows of the position embedding, for encoders


@dataclass(frozen=True)
class Memory:
    """Peak allocated memory, the moment it occurs, and what is alive then (adds up to it)."""

    peak_gib: float
    moment: str
    weights_gib: float
    gradients_gib: float
    optimizer_gib: float
    activations_gib: float
    logits_gib: float


@dataclass(frozen=True)
class Range:
    """A low and a high estimate of one quantity."""

    low: float
    high: float


@dataclass(frozen=True)
class Price:
    """What a machine costs on demand; `as_of` is an ISO date or says that there is none."""

    provider: str
    instance: str
    gpu_count: int
    usd_per_hour: float
    as_of: str


# ------------------------------------------------------------------------------------- tables


@functools.cache
def _rows(table: str) -> list[dict[str, str]]:
    import csv  # these two are a quarter of this file's import time
    from pathlib import Path

    path = Path(__file__).with_name("tables") / f"{table}.csv"
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@functools.cache
def gpus() -> dict[str, Gpu]:
    """The GPUs of the table by name."""
    found = {}
    for row in _rows("gpus"):
        major, minor = row["compute_capability"].split(".")
        found[row["name"]] = Gpu(
            name=row["name"],
            memory_gib=float(row["memory_gib"]),
            bf16_tflops=float(row["bf16_tflops"]) if row["bf16_tflops"] else None,
            fp16_tflops=float(row["fp16_tflops"]),
            bandwidth_gbps=float(row["bandwidth_gbps"]),
            compute_capability=(int(major), int(minor)),
            watts=int(row["watts"]),
        )
    return found


def find_gpu(name: str) -> Gpu:
    """The GPU of that name or nvidia-smi product name. Raises EstimateError."""
    for row in _rows("gpus"):
        spellings = [row["name"], *row["nvidia_smi_names"].split(";")]
        if _normal(name) in map(_normal, spellings):
            return gpus()[row["name"]]
    raise EstimateError(f"GPU {name!r} is not in the table; {_suggest(name, gpus())}")


@functools.cache
def models() -> dict[str, ModelShape]:
    """Preset shapes by hub id."""
    words = {"hub_id", "kind", "family", "tied", "source"}
    return {
        row["hub_id"]: ModelShape(
            kind=row["kind"],
            family=row["family"],
            tied=row["tied"] == "true",
            **{key: int(value or 0) for key, value in row.items() if key not in words},
        )
        for row in _rows("models")
    }


def find_model(hub_id: str) -> ModelShape:
    """The preset of a hub id or of its instruction-tuned variant. Raises EstimateError."""
    wanted = hub_id.strip().lower()
    by_name = {name.lower(): shape for name, shape in models().items()}
    for ending in ("", "-instruct", "-chat", "-base", "-it"):
        if wanted.endswith(ending) and wanted.removesuffix(ending) in by_name:
            return by_name[wanted.removesuffix(ending)]
    raise EstimateError(f"model {hub_id!r} is not a preset; {_suggest(hub_id, models())}")


def prices(gpu_name: str) -> list[Price]:
    """On-demand prices of machines with that GPU."""
    keys = ("provider", "instance", "gpu_count", "usd_per_hour", "as_of")
    found = [[row[key] for key in keys] for row in _rows("prices") if row["gpu"] == gpu_name]
    return [Price(p, i, int(count), float(usd), date) for p, i, count, usd, date in found]


def _normal(name: str) -> str:
    letters = "".join(c for c in name.lower() if c.isalnum())
    for maker in ("nvidia", "geforce", "tesla"):
        letters = letters.removeprefix(maker)
    return letters


def _suggest(name: str, known: Mapping[str, object]) -> str:
    import difflib  # needed for a misspelt name only

    by_lower = {key.lower(): key for key in known}
    close = difflib.get_close_matches(name.lower(), by_lower, n=3, cutoff=0.4)
    if close:
        return "did you mean " + " or ".join(by_lower[key] for key in close) + "?"
    return "known are " + ", ".join(known)


# -------------------------------------------------------------------------------- model shapes

_DECODERS = ("llama", "mistral", "smollm3", "qwen2", "qwen3", "phi3", "gemma3")
_ENCODERS = ("bert", "roberta", "xlm-roberta", "distilbert", "modernbert")
_DISTILBERT = {
    "hidden_size": "dim",
    "intermediate_size": "hidden_dim",
    "num_hidden_layers": "n_layers",
    "num_attention_heads": "n_heads",
}


def shape_from_config(config: Mapping[str, object]) -> ModelShape:
    """The shape in a Hugging Face config.json. Raises EstimateError naming the field at fault."""
    family = str(config.get("model_type", "")).removesuffix("_text")
    if family not in _DECODERS + _ENCODERS:
        known = ", ".join(_DECODERS + _ENCODERS)
        raise EstimateError(f"config.json: no formula for model_type {family!r}, only for {known}")
    for key in ("attention_bias", "mlp_bias"):
        if config.get(key) and family != "qwen2":
            raise EstimateError(f"config.json: there is no formula for {key}")

    def number(key: str, default: int | None = None) -> int:
        key = _DISTILBERT.get(key, key) if family == "distilbert" else key
        value = default if config.get(key) is None else config[key]
        if value is None:
            raise EstimateError(f"config.json: {key} is missing")
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise EstimateError(f"config.json: {key} is {value!r}, not a positive whole number")
        return value

    decoder = family in _DECODERS
    hidden, heads = number("hidden_size"), number("num_attention_heads")
    # Families whose configuration class fills a field in differently must state it.
    explicit = family in ("gemma3", "smollm3")
    shape = ModelShape(
        kind="decoder" if decoder else "encoder",
        params=0,
        hidden=hidden,
        intermediate=number("intermediate_size"),
        layers=number("num_hidden_layers"),
        heads=heads,
        kv_heads=number("num_key_value_heads", None if explicit else heads) if decoder else heads,
        head_dim=number("head_dim", hidden // heads) if decoder else hidden // heads,
        vocab=number("vocab_size"),
        tied=decoder and bool(config.get("tie_word_embeddings", explicit)),
        family=family,
        positions=0 if decoder else number("max_position_embeddings"),
    )
    return replace(shape, params=count_parameters(shape))


def _linears(shape: ModelShape) -> list[tuple[int, int]]:
    """(inputs, outputs) of each linear map in one layer, split as the modules split them."""
    h, f = shape.hidden, shape.intermediate
    hq, hk = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    if shape.family == "phi3":
        return [(h, hq + 2 * hk), (hq, h), (h, 2 * f), (f, h)]
    if shape.family == "modernbert":
        return [(h, 3 * h), (h, h), (h, 2 * f), (f, h)]
    if shape.kind == "encoder":
        return [(h, h), (h, h), (h, h), (h, h), (h, f), (f, h)]
    return [(h, hq), (h, hk), (h, hk), (hq, h), (h, f), (h, f), (f, h)]


def count_parameters(shape: ModelShape) -> int:
    """Exact parameter count, read off the modules of `transformers` 5."""
    h, f, layers = shape.hidden, shape.intermediate, shape.layers
    embedding = shape.vocab * h
    linears = layers * sum(inputs * outputs for inputs, outputs in _linears(shape))
    if shape.kind == "decoder":
        per_layer = (4 if shape.family == "gemma3" else 2) * h  # norms
        if shape.family in ("qwen3", "gemma3"):  # norms of queries and keys
            per_layer += 2 * shape.head_dim
        if shape.family == "qwen2":  # biases of queries, keys and values
            per_layer += (shape.heads + 2 * shape.kv_heads) * shape.head_dim
        return linears + layers * per_layer + h + embedding * (1 if shape.tied else 2)
    head = h * h + h + 2 * h + 2  # a dense layer and two labels
    if shape.family == "modernbert":  # no biases, and no attention norm in the first layer
        return embedding + h + linears + 2 * layers * h + head
    segments = {"bert": 2, "distilbert": 0}.get(shape.family, 1)
    per_layer = 9 * h + f  # biases and two LayerNorms
    return embedding + (shape.positions + segments + 2) * h + linears + layers * per_layer + head


# ------------------------------------------------------------------------------------- memory

# Bytes kept for the backward pass per token and layer, in multiples of (h, hq + hk, f).
# Under autocast ("mixed") norms see fp32 and matrix products 16 bit; frozen weights keep no
# input. Counted on the modules of transformers 5; 34 h = 18 h + 4 f of a 16-bit BERT is the
# constant of Korthikanti et al. 2022.
_SAVED = {
    ("llama", "full", "mixed"): (26, 4, 8),
    ("llama", "full", "fp32"): (24, 8, 16),
    ("llama", "lora", "mixed"): (8, 4, 6),
    ("llama", "lora", "fp32"): (16, 8, 16),
    ("gemma3", "full", "mixed"): (42, 4, 8),
    ("gemma3", "full", "fp32"): (40, 8, 16),
    ("gemma3", "lora", "mixed"): (16, 4, 6),
    ("gemma3", "lora", "fp32"): (24, 8, 16),
    ("bert", "full", "mixed"): (26, 0, 4),
    ("bert", "full", "fp32"): (34, 0, 8),
    ("bert", "lora", "mixed"): (18, 0, 2),
    ("bert", "lora", "fp32"): (34, 0, 8),
    ("modernbert", "full", "mixed"): (24, 0, 8),
    ("modernbert", "full", "fp32"): (40, 0, 16),
    ("modernbert", "lora", "mixed"): (20, 0, 6),
    ("modernbert", "lora", "fp32"): (40, 0, 16),
}


def _saved_per_token(shape: ModelShape, strategy: str, mode: str, mask: int) -> float:
    """Bytes that one layer keeps per token, with SDPA attention; `mask` is its length or 0.

    4 * heads + 8 are the log-sum-exp of attention and the norms' statistics. SDPA turns a
    boolean mask into numbers, and with a mask K and V are repeated for all heads.
    """
    hq, hk = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    size = 4 if mode == "fp32" else 2
    like = "bert" if shape.kind == "encoder" else "llama"
    architecture = shape.family if shape.family in ("gemma3", "modernbert") else like
    per_h, per_heads, per_f = _SAVED[architecture, strategy, mode]
    total = per_h * shape.hidden + per_f * shape.intermediate + 4 * shape.heads + 8 + size * mask
    total += per_heads * (hq + (hq if mask else hk))
    if shape.family in ("qwen3", "gemma3"):  # queries and keys have norms, computed in fp32
        wide = shape.family == "gemma3" or mode == "fp32"
        total += (4 if strategy == "lora" else 8 if wide else 6) * (hq + hk)
    if shape.family == "phi3":  # V is a view that keeps the fused q, k and v alive
        total += size * (hq + hk)
    return total


def _adapters_per_token(shape: ModelShape, mode: str, rank: int, dropout: float) -> float:
    """Bytes that one layer's LoRA adapters keep per token.

    Each keeps its rank-wide middle, under autocast its own 16-bit copy of the input, and with
    dropout a mask of one byte an input.
    """
    linears = _linears(shape)
    inputs = sum(i for i, _ in linears)
    size = 4 if mode == "fp32" else 2
    copies = inputs if mode == "mixed" or dropout else 0
    return size * (rank * len(linears) + copies) + (inputs if dropout else 0)


def training_memory(
    shape: ModelShape,
    *,
    strategy: str = "full",
    precision: str = "bf16",
    micro_batch_size: int = 1,
    max_seq_len: int = 1024,
    activation_checkpointing: bool = False,
    accumulation: int = 1,
    lora_rank: int = 16,
    lora_dropout: float = 0.0,
    padded: bool = False,
    classifier: bool = False,
) -> Memory:
    """Peak memory of a training step under autocast with fused AdamW. Raises EstimateError.

    The largest of the moments that compete, not a sum of terms that never coexist. A trained
    parameter is held in fp32: weight 4, gradient 4, AdamW 8 bytes; full fine-tuning in 16 bit
    adds autocast's copy of each linear map, LoRA a frozen base in 2 bytes (4 in fp32). The
    full-logits fp32 cross-entropy of a decoder peaks at 12*V*T bytes in its backward pass;
    `classifier`: a decoder with a classification head has none. `padded`: batches carry an
    attention mask, as padded and packed ones do. Formulas: Korthikanti et al. 2022 and our
    count of what the modules save; within 0.5 % of a simulation of the real modules.
    """
    if strategy not in ("full", "lora"):
        raise EstimateError(f"strategy {strategy!r} has no formula; choose full or lora")
    if precision not in ("bf16", "fp16", "fp32"):
        raise EstimateError(f"precision {precision!r} is unknown; choose bf16, fp16 or fp32")
    if min(micro_batch_size, max_seq_len, accumulation, lora_rank) < 1:
        raise EstimateError("batch size, sequence length, accumulation and rank must be at least 1")
    full, mixed, ckpt = strategy == "full", precision != "fp32", activation_checkpointing
    language_model = shape.kind == "decoder" and not classifier
    tokens, h, layers = micro_batch_size * max_seq_len, shape.hidden, shape.layers
    embedding = shape.vocab * h
    unused_head = embedding if classifier and shape.kind == "decoder" and not shape.tied else 0
    tied = shape.tied and language_model

    linears = _linears(shape)
    adapters = layers * lora_rank * sum(i + o for i, o in linears)
    base = shape.params - unused_head
    trained = base if full else adapters
    weights = 4 * trained + (0 if full else (2 if mixed else 4) * base)
    optimizer, gradients = 8 * trained, 4 * trained
    held = gradients if accumulation > 1 else 0  # from the micro-batches before
    embedding_gradient = 4 * embedding if full else 0
    head_gradient = embedding_gradient if language_model else 0

    casts = 0  # 16-bit copies of fp32 weights
    if mixed:
        casts = 2 * (layers * sum(i * o for i, o in linears) if full else adapters)
    mode = "mixed" if mixed else "fp32"
    per_token = _saved_per_token(shape, strategy, mode, max_seq_len if padded else 0)
    if not full:
        per_token += _adapters_per_token(shape, mode, lora_rank, lora_dropout)
    layer = per_token * tokens + casts / layers
    # A decoder with a 16-bit base passes 16 bit from layer to layer; all others pass fp32.
    passed = (2 if mixed and not full and shape.kind == "decoder" else 4) * h * tokens
    saved = layers * (passed if ckpt else layer)
    if not full and not ckpt and shape.kind == "decoder":
        saved -= 4 * h * tokens  # nothing before the first adapter needs a gradient
    outside = (8 if full else 4) * h * tokens  # last norm, or an encoder's embeddings
    if language_model and full and mixed:
        outside += 2 * embedding  # the head's copy
    logits = shape.vocab * tokens if language_model else 0
    again = layer if ckpt else 0  # one layer, computed again
    working = again + (2 if mixed else 4) * (h + 2 * shape.intermediate) * tokens
    end = gradients
    if tied:
        end += 2 * embedding_gradient  # from both of its uses, before they are added
    elif held:
        end += embedding_gradient

    # gradients, activations and logits beside weights and optimizer state
    moments: dict[str, tuple[float, float, float]] = {
        "loss": (held, saved + outside, 12 * logits),
        "backward pass of the last layer": (held + head_gradient, saved + working, 0),
        "backward pass of the first layer": (
            max(held, gradients - (0 if tied else embedding_gradient)),
            working if ckpt else layer,
            0,
        ),
        "end of the backward pass": (end, 0, 0),
        "optimizer step": (gradients, 0, 0),
    }
    if mixed and ckpt:  # autocast keeps its copies until the forward pass ends
        moments["forward pass"] = (held, saved + outside + casts, 10 * logits)
    moment = max(moments, key=lambda name: sum(moments[name]))
    grads, acts, logit = moments[moment]
    total = weights + optimizer + grads + acts + logit
    parts = (weights, grads, optimizer, acts, logit)
    return Memory(total / GIB, moment, *(part / GIB for part in parts))


def fits(memory: Memory, gpu: Gpu) -> bool:
    """Whether it fits, with 10 % for fragmentation and 0.7 GiB for the CUDA context."""
    return memory.peak_gib * FRAGMENTATION + CONTEXT_GIB <= gpu.memory_gib


# ------------------------------------------------------------------------------- time and cost

# Share of the dense 16-bit peak that eager models reach: on short ragged batches (L40S, 12 %
# full, 25 % LoRA), and on long sequences of large models (H100, 33 to 43 %).
_UTILISATION = {"full": (0.12, 0.40), "lora": (0.22, 0.43)}


def flops_per_token(
    shape: ModelShape,
    *,
    strategy: str = "full",
    activation_checkpointing: bool = False,
    max_seq_len: int = 1024,
) -> float:
    """Floating-point operations to train on one token.

    6 N (Kaplan et al. 2020), or 4 N where weights are frozen, plus 12*L*hq*s for attention,
    half of it when causal (PaLM, appendix B); checkpointing adds a forward pass. N leaves out
    what is only looked up: input embeddings that are not also the output head.
    """
    looked_up = 0 if shape.tied else (shape.vocab + shape.positions) * shape.hidden
    n = shape.params - looked_up
    per_layer = (6 if shape.kind == "decoder" else 12) * shape.heads * shape.head_dim
    attention = per_layer * shape.layers * max_seq_len
    flops = (6 if strategy == "full" else 4) * n + attention
    return flops + (2 * n + attention / 3 if activation_checkpointing else 0)


def training_hours(
    shape: ModelShape,
    gpu: Gpu,
    tokens: float,
    *,
    strategy: str = "full",
    activation_checkpointing: bool = False,
    max_seq_len: int = 1024,
) -> Range:
    """Hours for `tokens` (all epochs) on one GPU in 16 bit. Raises EstimateError."""
    if strategy not in _UTILISATION:
        raise EstimateError(f"strategy {strategy!r} has no formula; choose full or lora")
    if tokens <= 0:
        raise EstimateError(f"the number of tokens is {tokens:g}; give a positive number")
    per_token = flops_per_token(
        shape,
        strategy=strategy,
        activation_checkpointing=activation_checkpointing,
        max_seq_len=max_seq_len,
    )
    hours_at_peak = tokens * per_token / ((gpu.bf16_tflops or gpu.fp16_tflops) * 1e12) / 3600
    low, high = _UTILISATION[strategy]
    return Range(hours_at_peak / high, hours_at_peak / low)


def cost_usd(hours: Range, gpu_name: str, count: int = 1) -> Range | None:
    """Dollars on demand, from the cheapest provider to the dearest; None: no price is known.

    From each provider the cheapest machines that make up `count` GPUs with none left over.
    """
    cheapest: dict[str, float] = {}
    for price in prices(find_gpu(gpu_name).name):
        if count % price.gpu_count == 0:
            usd = price.usd_per_hour * count / price.gpu_count
            cheapest[price.provider] = min(usd, cheapest.get(price.provider, usd))
    if not cheapest:
        return None
    return Range(hours.low * min(cheapest.values()), hours.high * max(cheapest.values()))
