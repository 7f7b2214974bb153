"""Peak memory of training on one GPU."""

from dataclasses import dataclass
from typing import NamedTuple

from . import media
from .activations import (
    Program,
    adapters_per_token,
    outside_layers,
    saved_per_token,
    working_per_token,
)
from .shapes import LinearMap, ModelShape, layer_maps
from .tables import EstimateError, Gpu

GIB = 2**30
CONTEXT_GIB = 0.7  # CUDA context and libraries; unconfirmed until measured
FRAGMENTATION = 1.10  # reserved over allocated memory
OURS = Program()
_CHOICES = {
    "strategy": ("full", "lora", "qlora"),
    "precision": ("bf16", "fp16", "fp32", "pure_bf16"),
    "optimizer": ("adamw", "adamw_foreach", "adamw_8bit", "paged_adamw_8bit"),
    "attention": ("sdpa", "eager"),
    "loss_head": ("full", "split", "chunked"),
    "lora_precision": ("fp32", "bf16"),
    "parallelism": ("single", "ddp", "fsdp"),
}
_SIZES = ("micro_batch_size", "max_seq_len", "accumulation", "lora_rank", "gpu_count")


@dataclass(frozen=True)
class Training:
    """What decides memory and time besides the model and the GPU."""

    strategy: str = "full"  # full, lora, qlora
    precision: str = "bf16"  # bf16, fp16: autocast over fp32 trained weights; fp32; pure_bf16
    optimizer: str = "adamw"  # adamw (fused), adamw_foreach, adamw_8bit, paged_adamw_8bit
    micro_batch_size: int = 1
    max_seq_len: int = 1024  # tokens of a text; ignored where the model fixes it (shape.tokens)
    accumulation: int = 1
    activation_checkpointing: bool = False
    padded: bool = False  # batches carry an attention mask
    attention: str = "sdpa"  # sdpa, eager
    # full; split: 16-bit logits, the loss in pieces; chunked: logits computed again in pieces
    loss_head: str = "full"
    classifier: bool = False  # a decoder with a classification head
    lora_rank: int = 16
    lora_dropout: float = 0.0
    lora_targets: tuple[str, ...] = ()  # names such as q_proj; () is all linear maps
    lora_precision: str = "fp32"  # of the adapters; PEFT keeps them in fp32 under any base
    double_quantization: bool = True  # of a qlora base
    optimizer_in_backward: bool = False  # steps each weight once its gradient is there
    parallelism: str = "single"  # single, ddp, fsdp
    gpu_count: int = 1

    @property
    def mode(self) -> str:
        """How the modules compute: fp32, mixed (autocast) or pure_bf16.

        FSDP casts each unsharded layer to 16 bit itself, so nothing is cast at each use.
        """
        if self.precision in ("fp32", "pure_bf16"):
            return self.precision
        return "pure_bf16" if self.parallelism == "fsdp" else "mixed"


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
    basis: str = "formula"


class _States(NamedTuple):
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


def training_memory(shape: ModelShape, training: Training, program: Program = OURS) -> Memory:
    """Peak memory of a training step on one GPU. Raises EstimateError.

    The largest of the moments that compete, not a sum of terms that never coexist. A decoder's
    cross-entropy on whole fp32 logits peaks at 12*V*T bytes in its backward pass (16-bit logits,
    their fp32 copy, log-probabilities and gradient); in pieces over 16-bit logits that are kept
    at 4*V*T; in pieces that are computed again at one piece. A classifier has none. FSDP and DDP:
    see `_states`. `program`: where another one than this template's trains.
    Formulas: Korthikanti et al. 2022 (arxiv.org/abs/2205.05198) and our count of what the
    modules save; within 1 % of a simulation of the real modules for decoders, 5 % for others.
    """
    _check(training)
    full, mode = training.strategy == "full", training.mode
    ckpt = training.activation_checkpointing
    decoder = shape.kind in ("decoder", "vision_language")
    language_model = decoder and not training.classifier
    length = shape.tokens if shape.tokens and not decoder else training.max_seq_len
    tokens, h, layers = training.micro_batch_size * length, shape.hidden, shape.layers
    maps = targeted_maps(shape, training)
    states = _states(shape, training, maps, program)
    tied = shape.tied and language_model
    held = states.gradients if _gradients_stay(training) else 0.0

    plain, windowed, basis = saved_per_token(shape, training, length, program)
    more = 0.0 if full or program.saved else adapters_per_token(shape, training, maps)
    casts = states.casts / layers
    layer = max(plain, windowed if shape.windowed_layers else 0) + more
    layer = layer * tokens + casts
    # With a 16-bit base 16 bit pass from layer to layer, but fp32 where a norm comes last.
    norm_last = shape.kind == "encoder" or shape.family in ("wav2vec2", "hubert")
    narrow = mode == "pure_bf16" or (mode == "mixed" and not full and not norm_last)
    passed = (2 if narrow else 4) * h * tokens
    local = shape.windowed_layers
    saved = ((layers - local) * plain + local * windowed + layers * more) * tokens
    saved = saved + layers * casts
    if ckpt:
        saved = (2 if program.offloads else layers) * passed
    if not full and not ckpt and decoder:
        saved -= 4 * h * tokens  # nothing before the first adapter needs a gradient
    before = outside_layers(shape, training) + media.present(shape, training)
    norm = (8 if full else 4) * h * tokens  # the last, or that of an encoder's embeddings
    if shape.kind == "encoder":
        before += norm
    outside = before + (norm if decoder else 0)
    head = shape.vocab * h if language_model else 0
    if full and mode == "mixed":
        outside += 2 * head  # its 16-bit copy
    logits = shape.vocab * tokens if language_model else 0
    loss, forward = _logits(logits, tokens, training, program)
    if shape.family == "gemma2":  # caps its logits by a tanh, whose output stays
        loss, forward = loss + 2 * logits, forward + 2 * logits
    head_sum = 0.0
    if training.loss_head != "full":  # summed over the pieces: so far, and of this one
        head_sum = 2 * states.head_gradient
    again = layer if ckpt else 0  # one layer, computed again
    if ckpt and not narrow and shape.kind in ("vision", "audio") and not norm_last:
        again -= passed  # its first norm reads what is kept between layers
    working = again + working_per_token(shape, training, maps) * tokens + states.dequantized
    gradients = states.gradients
    if training.optimizer_in_backward:  # one weight's gradient at a time
        held, gradients = 0.0, max(states.embedding_gradient, states.head_gradient)
    end = gradients
    if tied:
        end += 2 * states.embedding_gradient  # from both of its uses, before they are added
    elif held:
        end += states.embedding_gradient
    first = gradients - (0 if tied else states.embedding_gradient)
    if not decoder:  # the peak of a decoder's layer comes later, beside its own gradients
        first -= (gradients - states.embedding_gradient) / layers
    gathered = states.unsharded

    # gradients, activations and logits beside weights and optimizer state
    moments: dict[str, tuple[float, float, float]] = {
        "loss": (
            held + head_sum + gathered,
            saved + outside + (states.dequantized if program.quantizes_head else 0),
            loss,
        ),
        "backward pass of the last layer": (
            max(held, states.head_gradient) + gathered + states.layer_buffers,
            saved + before + working,
            0,
        ),
        "backward pass of the first layer": (
            max(held, first) + gathered + states.layer_buffers,
            before + (working if ckpt else layer + states.dequantized),
            0,
        ),
        "end of the backward pass": (end + states.root_buffers, 0, 0),
        "optimizer step": (gradients + states.step, 0, 0),
    }
    if front_end := media.front_end(shape, training):
        moments["convolutions before the layers"] = (held, front_end, 0)
    if mode == "mixed" and ckpt:  # autocast keeps its copies until the forward pass ends
        moments["forward pass"] = (held, saved + outside + states.casts, forward)
    moment = max(moments, key=lambda name: sum(moments[name]))
    grads, acts, logit = moments[moment]
    parts = [states.weights, grads, states.optimizer, acts, logit]
    if moment not in ("end of the backward pass", "optimizer step"):
        parts[0], parts[1] = parts[0] + gathered, parts[1] - gathered
    weights_gib, gradients_gib, optimizer_gib, activations_gib, logits_gib = (
        part / GIB for part in parts
    )
    return Memory(
        peak_gib=sum(parts) / GIB,
        moment=moment,
        weights_gib=weights_gib,
        gradients_gib=gradients_gib,
        optimizer_gib=optimizer_gib,
        activations_gib=activations_gib,
        logits_gib=logits_gib,
        basis=basis,
    )


def fits(memory: Memory, gpu: Gpu) -> bool:
    """Whether it fits, with 10 % for fragmentation and 0.7 GiB for the CUDA context."""
    return memory.peak_gib * FRAGMENTATION + CONTEXT_GIB <= gpu.memory_gib


def targeted_maps(shape: ModelShape, training: Training) -> list[LinearMap]:
    """The linear maps of a layer that get adapters. Raises EstimateError for unknown names."""
    maps = layer_maps(shape)
    if not training.lora_targets:
        return maps
    known = {linear.name for linear in maps}
    elsewhere = {linear.name for linear in layer_maps(shape.vision)} if shape.vision else set()
    unknown = [name for name in training.lora_targets if name not in known | elsewhere]
    if unknown:
        raise EstimateError(
            f"LoRA target {unknown[0]!r} is no linear map of a {shape.family} layer; "
            f"it has {', '.join(sorted(known))}"
        )
    return [linear for linear in maps if linear.name in training.lora_targets]


def _check(training: Training) -> None:
    for field, choices in _CHOICES.items():
        value = getattr(training, field)
        if value not in choices:
            raise EstimateError(f"{field} {value!r} is unknown; choose {', '.join(choices)}")
    for field in _SIZES:
        value = getattr(training, field)
        if not isinstance(value, int) or not 1 <= value <= 10**9:
            raise EstimateError(f"{field} is {value!r}; give a whole number from 1 on")
    if not 0 <= training.lora_dropout < 1:
        raise EstimateError(f"lora_dropout is {training.lora_dropout!r}; give a number below 1")
    if training.parallelism == "single" and training.gpu_count > 1:
        raise EstimateError(f"{training.gpu_count} GPUs need parallelism ddp or fsdp")


def _gradients_stay(training: Training) -> bool:
    """Whether gradients are there during the forward pass.

    With accumulation those of the micro-batches before; under DDP its buckets, of which the
    gradients are views (`gradient_as_bucket_view=True`; without it they exist twice).
    """
    return training.accumulation > 1 or training.parallelism == "ddp"


def _logits(
    logits: float, tokens: int, training: Training, program: Program
) -> tuple[float, float]:
    """Bytes at the loss's peak, and in the forward pass, for so many logits."""
    if training.loss_head == "full":
        return 12 * logits, 10 * logits
    piece = logits * min(1, max(256, tokens / 8) / tokens)
    if training.loss_head == "split":
        return program.logit_bytes * logits + program.piece_bytes * piece, 4 * logits + 4 * piece
    return 12 * piece, 10 * piece


def _states(
    shape: ModelShape, training: Training, maps: list[LinearMap], program: Program
) -> _States:
    """Weights, gradients and optimizer state.

    Trained parameters are held in fp32 (weight 4, gradient 4, AdamW 8 bytes) or all in bf16
    (2, 2, 4); autocast adds a 16-bit copy of each linear map. Frozen ones take 2 bytes (4 in
    fp32); nf4 has half a byte and a scale for 64 numbers, 8 bits with double quantisation and
    32 without (Dettmers et al. 2023, arxiv.org/abs/2305.14314); embeddings and head stay at 2.
    8-bit AdamW: two bytes and two fp32 scales for 256 numbers; its paged state moves to host
    memory when the GPU is full, so it counts as none. The foreach AdamW has one more temporary.
    FSDP2 shards all of it over the GPUs and gathers two layers at a time, and embedding, head
    and last norm for the whole step; gradients are summed in fp32 (`MixedPrecisionPolicy`).
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
    states = _States(
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
    if training.parallelism != "fsdp":
        return states
    n = training.gpu_count
    root = embedding + (0 if shape.tied else head)
    computed = 4 if precision == "fp32" else 2
    a_layer = (base - root) / layers
    gathered = computed * root + 2 * a_layer * (in_map if not full else computed)
    scattered = computed + 4  # a gradient, and its fp32 copy for the sum
    return _States(
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
