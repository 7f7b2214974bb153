"""Weights, gradients and optimizer state on one GPU."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from . import media
from .activations import Program
from .shapes import LinearMap, ModelShape, layer_maps

if TYPE_CHECKING:
    from .memory import Training

BUCKET_BYTES = 64 * 2**20  # gradients that ddp sends at once, as in its parallel.py


class States(NamedTuple):
    """Bytes of weights, gradients and optimizer state on one GPU, and the parameters of parts."""

    weights: float
    gradients: float
    optimizer: float
    step: float  # what the optimizer's step needs besides
    casts: float  # 16-bit copies that autocast makes of fp32 weights
    embedding_gradient: float
    head_gradient: float
    dequantized: float  # one matrix of a quantised base
    unsharded: float = 0  # weights that FSDP has gathered at a time
    layer_buffers: float = 0  # gradients of a layer before FSDP has scattered them
    root_buffers: float = 0  # the same of embedding and head, at the end
    bucket: float = 0  # the copy of gradients in which ddp adds them up, at most


def states_of(
    shape: ModelShape, training: Training, maps: list[LinearMap], program: Program
) -> States:
    """Weights, gradients and optimizer state.

    Trained parameters are held in fp32 (weight 4, gradient 4, AdamW 8 bytes) or all in bf16
    (2, 2, 4); autocast adds a 16-bit copy of each linear map. Frozen ones take 2 bytes (4 in
    fp32); nf4 has half a byte and a scale for 64 numbers, 8 bits with double quantisation and
    32 without (Dettmers et al. 2023, arxiv.org/abs/2305.14314); embeddings and head stay at 2.
    8-bit AdamW: two bytes and two fp32 scales for 256 numbers; its paged state moves to host
    memory when the GPU is full, so it counts as none. The foreach AdamW has one more temporary.
    FSDP2 shards all of it over the GPUs and gathers two layers at a time, and embedding, head
    and last norm for the whole step; gradients are summed in fp32 (`MixedPrecisionPolicy`).
    DDP adds gradients up after the last backward pass, copied into buckets: one is full with the
    gradient that takes it to 64 MiB, so a larger gradient is copied whole.
    """
    h, layers, precision = shape.hidden, shape.layers, training.precision
    full = training.strategy == "full"
    decoder = shape.kind in ("decoder", "vision_language")
    language_model = decoder and not training.classifier
    embedding = shape.vocab * h if shape.kind not in ("vision", "audio") else 0
    unused_head = embedding if decoder and training.classifier and not shape.tied else 0
    head = embedding if language_model else 0
    all_maps = layer_maps(shape)
    in_maps = layers * sum(linear.inputs * linear.outputs for linear in all_maps)
    adapters = layers * training.lora_rank * sum(m.inputs + m.outputs for m in maps)
    adapters += media.tower_adapters(shape, training)
    base = shape.params - unused_head
    trained = base if full else adapters

    wide = 2 if precision == "pure_bf16" and full else 4
    if not full and training.lora_precision == "bf16":
        wide = 2
    frozen = 4.0 if precision == "fp32" else 2.0
    in_map = frozen
    if training.strategy == "qlora":
        in_map = 0.5 + (1 / 64 + 4 / (64 * 256) if training.double_quantization else 4 / 64)
    weights: float = wide * trained
    if not full:
        small = in_maps + (head if program.quantizes_head else 0)
        weights += frozen * (base - small) + in_map * small
    per_state: dict[str, float] = {"adamw_8bit": 2 + 8 / 256, "paged_adamw_8bit": 0}
    optimizer = per_state.get(training.optimizer, 2 * wide) * trained
    gradients = wide * trained
    casts = 0.0
    if training.mode == "mixed" and wide == 4:
        casts = 2 * (in_maps if full else adapters)
    dequantized = 0.0
    if training.strategy == "qlora":
        dequantized = frozen * max(linear.inputs * linear.outputs for linear in all_maps)
        if program.quantizes_head:
            dequantized = max(dequantized, frozen * head)
    states = States(
        weights=weights,
        gradients=gradients,
        optimizer=optimizer,
        step=(gradients if training.optimizer == "adamw_foreach" else 0)
        + program.step_bytes * embedding,
        casts=casts,
        embedding_gradient=wide * embedding if full else 0,
        head_gradient=wide * head if full else 0,
        dequantized=dequantized,
    )
    n = training.gpu_count
    if training.parallelism == "ddp" and n > 1:
        return states._replace(bucket=_bucket(states, shape.tied, wide, all_maps, maps, training))
    if training.parallelism != "fsdp":
        return states
    root = embedding + (0 if shape.tied else head)
    computed = 4 if precision == "fp32" else 2
    a_layer = (base - root) / layers
    gathered = computed * root + 2 * a_layer * (in_map if not full else computed)
    scattered = computed + 4  # a gradient, and its fp32 copy for the sum
    return States(
        weights=weights / n,
        gradients=gradients / n,
        optimizer=optimizer / n,
        step=states.step / n,
        casts=0,
        embedding_gradient=computed * embedding if full else 0,
        head_gradient=computed * head if full else 0,
        dequantized=dequantized,
        unsharded=gathered,
        layer_buffers=scattered * a_layer if full else 0,
        root_buffers=(scattered + computed) * root if full else 0,
    )


def _bucket(
    states: States,
    tied: bool,
    wide: int,
    all_maps: list[LinearMap],
    adapted: list[LinearMap],
    training: Training,
) -> float:
    """Bytes of the largest bucket of gradients; the embedding's comes first, alone if large."""
    if training.strategy == "full":
        of_a_map = wide * max(linear.inputs * linear.outputs for linear in all_maps)
        largest = max(of_a_map, 0.0 if tied else states.head_gradient)
    else:
        sides = [max(linear.inputs, linear.outputs) for linear in adapted]
        largest = wide * training.lora_rank * max(sides, default=0)
    last = BUCKET_BYTES + largest  # it was almost full before
    return min(states.gradients, max(last, states.embedding_gradient))
