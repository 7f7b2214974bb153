"""Which batch and sequence sizes fit, and the numbers that go with them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

from .facts import (
    HEARD_TOKENS,
    LORA,
    QLORA,
    SCRATCH,
    STRATEGY_LABELS,
    Facts,
    Plan,
    Recommendation,
    Sizes,
    size,
)

SHORTEST, LONGEST = 128, 4096
LARGE_ENCODER, LARGE_AUDIO_ENCODER = 0.25, 0.5  # billions of parameters
SHORTENED_TO = 256  # where nothing longer fits
SPARE = 1.3  # rows were counted at four bytes a token, which some languages do not reach
USUAL_LENGTH = {"llm": 1024, "multimodal": 1024}
USUAL_LENGTH_OF_LABELLED_TEXT = 512
TEXT_BESIDE_IMAGE = 512
CPU_LENGTH = 256
CPU_MICRO_BATCH_SIZES = (4, 2, 1)
CPU_MEMORY_GIB = 12.0  # what a machine of 16 GiB has to spare
# Samples in one optimizer step: enough for a steady gradient, few enough for many steps.
GLOBAL_BATCH = {"llm": 16, "multimodal": 16, "image_classification": 64}
USUAL_GLOBAL_BATCH = 32
CPU_GLOBAL_BATCH = {"llm": 8, "multimodal": 8}
# Below so many tokens in one pass a GPU waits for its own launches; recomputing costs a third.
BUSY_TOKENS = 2048
LARGEST_MICRO_BATCH_SIZE = 32


def sequence_length(facts: Facts, shape: Any) -> int:
    """Tokens of the longest sequence: what the data needs, within what the model has."""
    usual = USUAL_LENGTH.get(facts.task, USUAL_LENGTH_OF_LABELLED_TEXT)
    if facts.task == "multimodal":
        return -(-(shape.tokens + TEXT_BESIDE_IMAGE) // 64) * 64 if shape is not None else usual
    if facts.gpu is None:
        usual = CPU_LENGTH
    if p95 := facts.counted("p95_tokens"):
        needed = min(LONGEST, max(SHORTEST, -(-int(SPARE * p95) // 64) * 64))
        # packed sequences hold several short rows; a classifier's hold one
        usual = max(usual, needed) if facts.task in USUAL_LENGTH else needed
    positions = getattr(shape, "positions", 0) if getattr(shape, "kind", "") == "encoder" else 0
    return min(usual, positions - positions % 64) if positions else usual


def global_batch_size(facts: Facts, count: int | None = None) -> int:
    """Samples in one optimizer step, a multiple of the number of GPUs."""
    count = count or facts.gpu_count
    table = GLOBAL_BATCH if facts.gpu is not None else CPU_GLOBAL_BATCH
    wanted = table.get(facts.task, USUAL_GLOBAL_BATCH)
    return -(-wanted // count) * count


def usual(facts: Facts, shape: Any, micro_batch_size: int = 1, count: int | None = None) -> Sizes:
    """What a recommendation must fit."""
    whole = global_batch_size(facts, count)
    micro_batch_size = min(micro_batch_size, whole // (count or facts.gpu_count))
    return Sizes(sequence_length(facts, shape), micro_batch_size, whole, True)


def smallest(facts: Facts, shape: Any, count: int | None = None) -> Sizes:
    """What is refused does not even fit this: the last of `comfortable_first`."""
    length, whole = sequence_length(facts, shape), global_batch_size(facts, count)
    shortest = length if getattr(shape, "tokens", 0) else min(SHORTENED_TO, length)
    return Sizes(shortest, 1, whole, True)


def comfortable_first(facts: Facts, shape: Any, count: int) -> Iterator[Sizes]:
    """Every size worth trying: without checkpointing, with it, and then ever shorter."""
    length, whole = sequence_length(facts, shape), global_batch_size(facts, count)
    per_gpu = whole // count
    micros = [m for m in range(min(LARGEST_MICRO_BATCH_SIZE, per_gpu), 0, -1) if per_gpu % m == 0]
    fixed = getattr(shape, "tokens", 0) or length
    for micro in micros:
        if micro * fixed >= BUSY_TOKENS or micro == micros[0]:
            yield Sizes(length, micro, whole, False)
    for micro in micros:
        yield Sizes(length, micro, whole, True)
    shorter = length // 2
    while shorter > SHORTENED_TO and fixed == length:
        yield Sizes(shorter, 1, whole, True)
        shorter //= 2
    yield smallest(facts, shape, count)


def fitted(
    facts: Facts, shape: Any, plan: Plan, gpu: Any = None, count: int | None = None
) -> tuple[Sizes, Any]:
    """The most comfortable sizes that fit, else the smallest, and their memory (None: unknown)."""
    gpu, count = gpu or facts.gpu, count or facts.gpu_count
    chosen, memory = usual(facts, shape, 1, count), None
    for chosen in comfortable_first(facts, shape, count):
        memory = facts.memory(shape, plan, chosen, gpu, count)
        if memory is None or facts.fits(memory, gpu):
            break
    return chosen, memory


def sizes(facts: Facts, plan: Plan) -> Recommendation:
    """Sequence length, micro-batch, global batch and checkpointing for the answers."""
    shape = facts.shape
    length, whole = sequence_length(facts, shape), global_batch_size(facts)
    if facts.gpu is None:
        return _on_cpu(facts, plan, length, whole)
    per_gpu = whole // facts.gpu_count
    if facts.model == SCRATCH:
        micro = max(m for m in range(1, min(8, per_gpu) + 1) if per_gpu % m == 0)
        small = Sizes(length, micro, whole, False)
        return Recommendation(small, "A small model of random weights leaves the GPU room.")
    one = Sizes(length, 1, whole, True)
    if shape is None:
        return Recommendation(one, f"{facts.unknown_size}, so one row a pass.")
    chosen, memory = fitted(facts, shape, plan)
    if memory is None:
        return Recommendation(
            one, f"The memory of {facts.model} is not known here, so one row a pass."
        )
    label = STRATEGY_LABELS[plan.strategy]
    a_gpu = " a GPU" if facts.gpu_count > 1 else ""
    if getattr(shape, "tokens", 0) == HEARD_TOKENS:
        a_gpu += " for 10 seconds of sound"
    reason = f"{label} training then needs about {facts.needed_gib(memory):.1f} GiB{a_gpu}"
    return Recommendation(
        chosen,
        f"{reason} ({memory.peak_gib:.1f} allocated); the {facts.gpu.name} has "
        f"{facts.gpu.memory_gib:.1f} GiB.",
        tuple(_rejected(facts, shape, plan, chosen)),
        "Longer rows or a larger model halve the micro-batch; the global batch stays.",
    )


def _on_cpu(facts: Facts, plan: Plan, length: int, whole: int) -> Recommendation:
    """The largest small step that an ordinary machine's memory holds."""
    reason = "Small steps, so that a CPU shows progress."
    shape = None if facts.model == SCRATCH else facts.shape
    for checkpointing, micro in product((False, True), CPU_MICRO_BATCH_SIZES):
        chosen = Sizes(length, micro, whole, checkpointing)
        memory = None if shape is None else facts.memory(shape, plan, chosen)
        if memory is None:
            return Recommendation(chosen, reason)
        reason = (
            f"Small steps: {STRATEGY_LABELS[plan.strategy]} training then needs about "
            f"{memory.peak_gib:.1f} GiB of the machine's memory."
        )
        if memory.peak_gib <= CPU_MEMORY_GIB:
            break
    return Recommendation(chosen, reason)


def _rejected(facts: Facts, shape: Any, plan: Plan, chosen: Sizes) -> Iterator[tuple[str, str]]:
    """Why not without checkpointing, and why not a larger micro-batch."""
    if chosen.activation_checkpointing:
        stored = facts.memory(shape, plan, chosen._replace(activation_checkpointing=False))
        if stored is not None and not facts.fits(stored):
            gib = facts.needed_gib(stored)
            yield (
                "without checkpointing",
                f"needs {gib:.1f} GiB; with it a step takes a third longer.",
            )
    if chosen.micro_batch_size * facts.gpu_count < chosen.global_batch_size:
        larger = chosen._replace(micro_batch_size=2 * chosen.micro_batch_size)
        memory = facts.memory(shape, plan, larger)
        if memory is not None and not facts.fits(memory):
            gib = facts.needed_gib(memory)
            yield f"micro-batch {larger.micro_batch_size}", f"needs {gib:.1f} GiB."


def precision(facts: Facts) -> Recommendation:
    """bf16 where the GPU computes it (Ampere and later), else fp16, else fp32."""
    gpu = facts.gpu
    if gpu is None:
        return Recommendation(
            "fp32",
            "A CPU computes 32-bit numbers; shorter ones are seldom faster there.",
            changes="Any GPU: 16 bit halves the activations.",
        )
    major, minor = gpu.compute_capability
    capability = f"compute capability {major}.{minor}"
    if gpu.bf16_tflops:
        return Recommendation(
            "bf16",
            f"The {gpu.name} ({capability}) computes bf16 at {gpu.bf16_tflops:.0f} TFLOP/s.",
            (
                ("fp16", "as fast, but its small range needs loss scaling."),
                ("fp32", "several times slower, with twice the activations."),
            ),
            "A GPU older than Ampere (compute capability below 8.0) has no bf16.",
        )
    return Recommendation(
        "fp16",
        f"The {gpu.name} ({capability}) is older than Ampere: fp16 at "
        f"{gpu.fp16_tflops:.0f} TFLOP/s with loss scaling.",
        (
            ("bf16", "only emulated on this GPU, far slower."),
            ("fp32", "several times slower, with twice the activations."),
        ),
        "A GPU of Ampere or later (compute capability 8.0) has bf16, without loss scaling.",
    )


def learning_rate(facts: Facts, strategy: str) -> Recommendation:
    """A peak learning rate of AdamW that usually works."""
    shape = facts.shape
    billions = shape.params / 1e9 if shape is not None else 1.0
    if facts.model == SCRATCH:
        return Recommendation("1e-3", "Random weights of a small model move far.")
    if strategy in (LORA, QLORA):
        if billions > 30:
            return Recommendation("1e-4", f"Adapters of a large model ({size(shape)}).")
        return Recommendation("2e-4", "Adapters start at zero and take ten times a full rate.")
    if facts.task in ("llm", "multimodal") or getattr(shape, "kind", "") == "decoder":
        if billions >= 3:
            return Recommendation("1e-5", f"Every weight of a large model ({size(shape)}) moves.")
        return Recommendation("2e-5", "Every weight of a language model moves a little.")
    if facts.task == "audio_classification":
        if shape is not None and billions > LARGE_AUDIO_ENCODER:
            return Recommendation("1e-5", f"A large audio encoder ({size(shape)}) moves little.")
        return Recommendation("3e-5", "Every weight of an audio encoder moves a little.")
    if shape is not None and billions > LARGE_ENCODER:
        return Recommendation("2e-5", f"A large encoder ({size(shape)}) may diverge at 5e-5.")
    return Recommendation("5e-5", "Every weight of an encoder moves, its new head from random.")


def as_mapping(sizes: Sizes) -> dict[str, Any]:
    """The keys of `configs/train.yaml`."""
    return sizes._asdict()
