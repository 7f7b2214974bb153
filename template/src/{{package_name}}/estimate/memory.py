"""Peak memory of training on one GPU."""

from dataclasses import dataclass

from .activations import Program
from .moments import Step
from .shapes import LinearMap, ModelShape, layer_maps
from .states import states_of
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
    lora_in_tower: bool = True  # whether a tower's maps of these names are adapted, too
    lora_precision: str = "fp32"  # of the adapters; PEFT keeps them in fp32 under any base
    double_quantization: bool = True  # of a qlora base
    optimizer_in_backward: bool = False  # steps each weight once its gradient is there
    parallelism: str = "single"  # single, ddp, fsdp
    gpu_count: int = 1

    @property
    def mode(self) -> str:
        """How the modules compute: fp32, mixed (autocast) or pure_bf16.

        FSDP hands each layer weights and inputs in 16 bit, so autocast makes no copies of weights;
        what it computes in fp32 all the same is counted in activations.py.
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


def training_memory(shape: ModelShape, training: Training, program: Program = OURS) -> Memory:
    """Peak memory of a training step on one GPU. Raises EstimateError.

    The largest of the moments that compete, not a sum of terms that never coexist. A decoder's
    cross-entropy on whole fp32 logits peaks at 12*V*T bytes in its backward pass (16-bit logits,
    their fp32 copy, log-probabilities and gradient); in pieces over 16-bit logits that are kept
    at 4*V*T; in pieces that are computed again at one piece. A classifier has none. FSDP and DDP:
    see `states_of`. `program`: where another one than this template's trains.
    Formulas: Korthikanti et al. 2022 (arxiv.org/abs/2205.05198) and our count of what the
    modules save; within 1 % of a simulation of the real modules for decoders, 5 % for others.
    """
    _check(training)
    maps = targeted_maps(shape, training)
    states = states_of(shape, training, maps, program)
    step = Step(shape, training, program, states, maps)
    moments = step.moments()
    moment = max(moments, key=lambda name: sum(moments[name]))
    gathered, gradients, activations, logits = moments[moment]
    parts = [states.weights + gathered, gradients, states.optimizer, activations, logits]
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
        basis=step.basis,
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
