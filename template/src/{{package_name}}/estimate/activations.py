"""What the layers of a model keep for the backward pass."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from . import media
from .shapes import LinearMap, ModelShape, layer_maps
from .tables import EstimateError

if TYPE_CHECKING:
    from .memory import Training

# Bytes kept per token and layer, in multiples of (h, hq + hk, f), with SDPA attention and
# without LoRA's adapters. Under autocast ("mixed") norms see fp32 and matrix products 16 bit;
# frozen weights ("lora") keep no input. Counted on the modules of transformers 5.23 with saved
# tensor hooks; 34 h = 18 h + 4 f of a 16-bit BERT is the constant of Korthikanti et al. 2022.
Saved = dict[tuple[str, str], tuple[float, float, float]]
_LLAMA: Saved = {
    ("full", "mixed"): (26, 4, 8),
    ("full", "fp32"): (24, 8, 16),
    ("full", "pure_bf16"): (16, 4, 8),
    ("lora", "mixed"): (8, 4, 6),
    ("lora", "fp32"): (8, 8, 12),
    ("lora", "pure_bf16"): (8, 4, 6),
}
_GEMMA = {**_LLAMA, ("full", "pure_bf16"): (20, 4, 8)}  # its norms scale in fp32
_GEMMA_2: Saved = {  # four norms
    ("full", "mixed"): (42, 4, 8),
    ("full", "fp32"): (40, 8, 16),
    ("full", "pure_bf16"): (36, 4, 8),
    ("lora", "mixed"): (16, 4, 6),
    ("lora", "fp32"): (16, 8, 12),
    ("lora", "pure_bf16"): (16, 4, 6),
}
_BERT: Saved = {
    ("full", "mixed"): (26, 0, 4),
    ("full", "fp32"): (34, 0, 8),
    ("full", "pure_bf16"): (18, 0, 4),
    ("lora", "mixed"): (18, 0, 2),
    ("lora", "fp32"): (26, 0, 4),
    ("lora", "pure_bf16"): (14, 0, 2),
}
_SAVED: dict[str, Saved] = {
    **dict.fromkeys(("llama", "mistral", "smollm3", "qwen2", "qwen3", "olmo2"), _LLAMA),
    "gemma": _GEMMA,
    "gemma2": _GEMMA_2,
    "gemma3": _GEMMA_2,
    **dict.fromkeys(("bert", "roberta", "xlm-roberta"), _BERT),
    "distilbert": {key: (h - 1, a, f) for key, (h, a, f) in _BERT.items()},  # a dropout less
    "phi3": {  # V is a view that keeps the fused q, k and v alive
        ("full", "mixed"): (20, 6, 8),
        ("full", "fp32"): (24, 12, 16),
        ("full", "pure_bf16"): (16, 6, 8),
        ("lora", "mixed"): (8, 6, 6),
        ("lora", "fp32"): (8, 12, 12),
        ("lora", "pure_bf16"): (8, 6, 6),
    },
    "gpt2": {  # autocast takes the power in gelu_new to fp32, and what follows it
        ("full", "mixed"): (22, 0, 16),
        ("full", "fp32"): (34, 0, 20),
        ("full", "pure_bf16"): (18, 0, 10),
        ("lora", "mixed"): (18, 0, 14),
        ("lora", "fp32"): (26, 0, 16),
        ("lora", "pure_bf16"): (14, 0, 8),
    },
    "gpt_neox": {
        ("full", "mixed"): (22, 0, 4),
        ("full", "fp32"): (40, 0, 8),
        ("full", "pure_bf16"): (20, 0, 4),
        ("lora", "mixed"): (16, 0, 2),
        ("lora", "fp32"): (28, 0, 4),
        ("lora", "pure_bf16"): (14, 0, 2),
    },
    "phi": {
        ("full", "mixed"): (22, 0, 16),
        ("full", "fp32"): (28, 0, 20),
        ("full", "pure_bf16"): (14, 0, 10),
        ("lora", "mixed"): (12, 0, 14),
        ("lora", "fp32"): (20, 0, 16),
        ("lora", "pure_bf16"): (10, 0, 8),
    },
    "falcon": {
        ("full", "mixed"): (15, 0, 4),
        ("full", "fp32"): (17, 0, 8),
        ("full", "pure_bf16"): (11, 0, 4),
        ("lora", "mixed"): (9, 0, 2),
        ("lora", "fp32"): (9, 0, 4),
        ("lora", "pure_bf16"): (7, 0, 2),
    },
    "modernbert": {
        ("full", "mixed"): (24, 0, 8),
        ("full", "fp32"): (40, 0, 16),
        ("full", "pure_bf16"): (20, 0, 8),
        ("lora", "mixed"): (20, 0, 6),
        ("lora", "fp32"): (32, 0, 12),
        ("lora", "pure_bf16"): (16, 0, 6),
    },
    "deberta-v2": {
        ("full", "mixed"): (28, 0, 4),
        ("full", "fp32"): (38, 0, 8),
        ("full", "pure_bf16"): (20, 0, 4),
        ("lora", "mixed"): (16, 0, 2),
        ("lora", "fp32"): (22, 0, 4),
        ("lora", "pure_bf16"): (12, 0, 2),
    },
}
# Bytes of an attention matrix that is kept, per head, query and key: its softmax in fp32 and the
# copy in 16 bit that meets V; gemma2 caps the scores by a tanh first. Dropout adds a mask and a
# copy. These families have no SDPA kernel, so they always keep it.
_EAGER = {"gemma2": (8, 8), "deberta-v2": (7, 9), "falcon": (4, 4)}  # in 16 bit, in fp32
_EAGER_USUAL = (6, 4)  # of a decoder; encoders have dropout as deberta has
# FSDP hands each layer weights and inputs in 16 bit, but the training loop runs under autocast,
# which still computes LayerNorm (and the power in gelu_new) in fp32. So much more than in
# pure_bf16 is then kept, in multiples of (h, f); counted on modules with 16-bit weights and inputs
# under autocast (falcon, deberta, dinov2_swiglu, HuBERT with norms first and towers: by analogy).
# RMSNorm is written out and gives 16 bit again: nothing more.
_WIDE_NORMS: dict[str, tuple[float, float]] = {
    **dict.fromkeys(("bert", "roberta", "xlm-roberta", "distilbert", "modernbert"), (4, 0)),
    **dict.fromkeys(("wav2vec2", "hubert", "falcon"), (4, 0)),
    **dict.fromkeys(("vit", "deit", "dinov2", "dinov2_swiglu", "whisper"), (8, 0)),
    **dict.fromkeys(("audio-spectrogram-transformer", "wav2vec2_norm", "hubert_norm"), (8, 0)),
    **dict.fromkeys(("deberta-v2", "clip", "siglip", "idefics3", "qwen2_vl"), (8, 0)),
    "gpt2": (4, 6),
    "phi": (8, 6),
    "gpt_neox": (6, 0),
}
_MEASURED = ("deberta-v2", "falcon")


class Program(NamedTuple):
    """What a training program does in its own way; the defaults are this template's.

    Others are described in benchmarks/, for comparisons with their published measurements. Only
    those set these fields, the loss_head `split` and a lora_precision of bf16.
    """

    saved: tuple[float, float, float] | None = None  # as _SAVED, adapters and masks included
    logit_bytes: float = 4  # kept per logit where the loss is split
    piece_bytes: float = 12  # per logit of the piece at hand
    offloads: bool = False  # checkpoints of layers wait in host memory
    quantizes_head: bool = False
    step_bytes: float = 0  # an optimizer's step on the embedding, per parameter


def saved_per_token(
    shape: ModelShape,
    training: Training,
    length: int,
    program: Program,
) -> tuple[float, float, str]:
    """Bytes that a layer keeps per token, the same with local attention, and what this rests on.

    4 * heads + 8 are the log-sum-exp of attention and the norms' statistics. SDPA turns a
    boolean mask into numbers, and with a mask K and V are repeated for all heads. Raises
    EstimateError where neither a formula nor a measurement is known.
    """
    full, mode = training.strategy == "full", training.mode
    key = ("full" if full else "lora", mode)
    constants = (
        program.saved
        or _SAVED.get(shape.family, {}).get(key)
        or media.SAVED.get((shape.family, *key))
    )
    if constants is None:
        raise EstimateError(f"the activations of {shape.family} in {mode} are not known")
    per_h, per_heads, per_f = constants
    hq, hk = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    size = 4 if mode == "fp32" else 2
    plain = per_h * shape.hidden + per_f * shape.intermediate + per_heads * (hq + hk)
    plain += 4 * shape.heads + 8
    if not program.saved:
        plain += wide_norms_per_token(shape, training)
    # norms of queries and keys, computed in fp32
    if program.saved:
        pass
    elif shape.family == "qwen3":
        plain += (4 if not full else 8 if mode == "fp32" else 6) * (hq + hk)
    elif shape.family in ("gemma3", "olmo2"):
        plain += (8 if full else 4) * (hq + hk)
    elif shape.family == "phi3" and full:  # attention's output is copied
        plain += size * hq
    elif shape.family == "deberta-v2":  # scores of each distance, and the indices of distances
        plain += 2 * size * shape.heads * shape.positions + 17 * length
    eager = training.attention == "eager" or (shape.family in _EAGER and not program.saved)
    repeated = 2 * size * (hq - hk) if shape.kv_heads > 1 else 0
    if eager:
        usual = _EAGER["deberta-v2"] if shape.kind == "encoder" else _EAGER_USUAL
        matrix = _EAGER.get(shape.family, usual)[size == 4]
        plain += matrix * shape.heads * length - 4 * shape.heads
        if per_heads:
            plain += repeated - (0 if full else size * hq)
        return plain, plain, _basis(shape)
    masked = plain + size * length + (repeated if per_heads else 0)
    if training.padded and shape.kind not in ("vision", "audio"):
        return masked, masked, _basis(shape)
    return plain, masked if length > shape.window else plain, _basis(shape)


def adapters_per_token(shape: ModelShape, training: Training, maps: list[LinearMap]) -> float:
    """Bytes that one layer's LoRA adapters keep per token.

    Each keeps its rank-wide middle. An fp32 adapter on 16-bit activations keeps its own copy of
    the input, which autocast makes 16 bit again; one that has the precision of its input shares
    it with those that read the same, and attention's output is kept anyway. Dropout makes each
    keep its own, and a mask of one byte.
    """
    narrow = training.mode == "mixed" or (
        training.mode == "pure_bf16" and _adapters_compute_narrow(training)
    )
    size = 2 if narrow else 4
    inputs = sum(linear.inputs for linear in maps)
    if _casts_inputs(shape, training) or training.lora_dropout:
        copies = inputs
    else:
        read = {linear.reads: linear.inputs for linear in maps if linear.reads != "attention"}
        copies = sum(read.values())
    masks = inputs if training.lora_dropout else 0
    return size * (training.lora_rank * len(maps) + copies) + masks


def working_per_token(shape: ModelShape, training: Training, maps: list[LinearMap]) -> float:
    """Bytes per token that the last layer's MLP has in use at once besides what is kept.

    Gradients: of a gated product and both its factors, else of the activation and of what goes
    round the MLP. Where PEFT casts an adapter's input to fp32, that copy beside the 16-bit ones,
    in the forward pass as in the backward pass.
    """
    h, f = shape.hidden, shape.intermediate
    if _casts_inputs(shape, training) and any(linear.inputs == f for linear in maps):
        return 12 * h + 6 * f
    size = 4 if training.mode == "fp32" else 2
    gated = any(linear.name in ("gate_proj", "gate_up_proj", "Wi") for linear in layer_maps(shape))
    return size * (h + 2 * f if gated else 2 * h + f)


def _casts_inputs(shape: ModelShape, training: Training) -> bool:
    """Whether an adapter gets a cast of its own of a 16-bit input.

    PEFT's 4-bit layer leaves that to autocast, which leaves a decoder's 16-bit activations.
    """
    if training.strategy == "full" or _adapters_compute_narrow(training):
        return False
    if training.strategy == "qlora" and training.mode == "mixed":
        return shape.kind not in ("decoder", "vision_language")
    return training.mode != "fp32"


def _adapters_compute_narrow(training: Training) -> bool:
    """Whether an adapter's weights are in 16 bit when it computes: FSDP gathers them as such."""
    return training.lora_precision == "bf16" or computes_norms_wide(training)


def computes_norms_wide(training: Training) -> bool:
    """Whether FSDP casts to 16 bit under autocast, which takes some of it back to fp32."""
    return training.parallelism == "fsdp" and training.precision in ("bf16", "fp16")


def wide_norms_per_token(shape: ModelShape, training: Training) -> float:
    """Bytes that a layer keeps per token besides those of pure_bf16, for norms in fp32."""
    if not computes_norms_wide(training):
        return 0.0
    per_h, per_f = _WIDE_NORMS.get(shape.family, (0, 0))
    return per_h * shape.hidden + per_f * shape.intermediate


def outside_layers(shape: ModelShape, training: Training) -> float:
    """Bytes kept by what a model has besides its layers: convolutions, a tower, a projector."""
    if shape.kind in ("decoder", "encoder"):
        return 0.0
    return media.outside(shape, training)


def _basis(shape: ModelShape) -> str:
    return "measured constant" if shape.family in _MEASURED else "formula"
