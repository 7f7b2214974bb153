"""Which weights are trained, and how the work is spread over GPUs.

The rule: full training up to about 7 billion parameters where it fits; else LoRA; QLoRA where LoRA
does not fit, and above 13 billion or on a consumer card already where it fits badly. One GPU if
one is enough; with several, each holds all of the model (ddp) before they share it (fsdp), unless
sharing avoids 4 bit and the GPUs have a fast link.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from . import sizes
from .facts import (
    DDP,
    FSDP,
    FULL,
    LORA,
    NEVER_PROPOSED,
    QLORA,
    SCRATCH,
    SINGLE,
    STRATEGY_LABELS,
    Facts,
    Plan,
    Recommendation,
    duration,
    size,
)

FULL_UP_TO = 7e9
LORA_WANTS_ROOM_ABOVE = 13e9
ROOM = 4  # rows in a pass: what "fits well" means
CPU_FULL_UP_TO = 300e6
# GPUs that are sold with a fast link between them (NVLink); others share over PCIe. The V100 has
# one, too, but cannot share (see can_share).
LINKED = ("A100", "H100", "H200", "GH200", "B200")
CONSUMER = ("RTX 30", "RTX 40", "RTX 50")
# What no GPU makes possible, and what to choose instead.
NOT_TOGETHER = {
    (QLORA, FSDP): "4-bit weights are not shared between GPUs here; choose ddp, or lora with fsdp"
}


def is_linked(gpu: Any) -> bool:
    """Whether several of them are sold with a fast link."""
    return bool(gpu.name.startswith(LINKED)) and gpu.name != "H100-PCIe"


def can_share(gpu: Any) -> bool:
    """Whether fsdp trains there: it takes bf16, since the trainer does not shard in fp16."""
    return bool(gpu.bf16_tflops)


def plans(facts: Facts, shape: Any, count: int, gpu: Any = None) -> Iterator[Plan]:
    """Every plan worth considering, the preferred first; those not offered are left out."""
    gpu = gpu or facts.gpu
    one = SINGLE if count == 1 else DDP
    several = count > 1
    linked = several and is_linked(gpu)
    order = []
    if shape.params <= FULL_UP_TO:
        order += [Plan(FULL, one), *([Plan(FULL, FSDP)] if linked else [])]
    order += [Plan(LORA, one), *([Plan(LORA, FSDP)] if linked else []), Plan(QLORA, one)]
    if several:
        order += [Plan(LORA, FSDP), Plan(QLORA, FSDP), Plan(FULL, one), Plan(FULL, FSDP)]
    else:
        order += [Plan(FULL, one)]
    for plan in dict.fromkeys(order):
        if plan.parallelism == FSDP and not can_share(gpu):
            continue
        offered = facts.offers("strategy", plan.strategy)
        if offered and facts.offers("parallelism", plan.parallelism) and plan not in NOT_TOGETHER:
            yield plan


def memory(facts: Facts, shape: Any, plan: Plan, gpu: Any = None, count: int | None = None) -> Any:
    """Of a usual step with the smallest micro-batch."""
    return facts.memory(shape, plan, sizes.usual(facts, shape, 1, count), gpu, count)


def fits_well(
    facts: Facts, shape: Any, plan: Plan, gpu: Any = None, count: int | None = None
) -> bool:
    """Whether a usual step fits; for LoRA with room, where QLoRA would be the wiser choice."""
    gpu = gpu or facts.gpu
    if not facts.fits(memory(facts, shape, plan, gpu, count), gpu):
        return False
    wants_room = shape.params > LORA_WANTS_ROOM_ABOVE or gpu.name.startswith(CONSUMER)
    if plan.strategy != LORA or not wants_room or not facts.offers("strategy", QLORA):
        return True
    roomy = sizes.usual(facts, shape, ROOM, count)
    return facts.fits(facts.memory(shape, plan, roomy, gpu, count), gpu)


def best(facts: Facts, shape: Any, gpu: Any = None, count: int | None = None) -> Plan | None:
    """The first plan that fits; else the first that could be held at all; else None."""
    gpu, count = gpu or facts.gpu, count or facts.gpu_count
    options = list(plans(facts, shape, count, gpu))
    for plan in options:
        if fits_well(facts, shape, plan, gpu, count):
            return plan
    for plan in options:
        if facts.fits(memory(facts, shape, plan, gpu, count), gpu):
            return plan
    return None


def holdable(facts: Facts, shape: Any, strategy: str = "", parallelism: str = "") -> Plan | None:
    """A plan of that strategy or parallelism which the answered GPUs could hold."""
    for plan in plans(facts, shape, facts.gpu_count):
        wanted = strategy in ("", plan.strategy) and parallelism in ("", plan.parallelism)
        if wanted and facts.can_hold(
            facts.memory(shape, plan, sizes.smallest(facts, shape), count=facts.gpu_count)
        ):
            return plan
    return None


# ── Recommendations ──────────────────────────────────────────────────────────────────────────────


def plan(facts: Facts) -> Plan | None:
    """The plan for the answered model and GPUs; None where no GPU or no size is known."""
    if facts.gpu is None or facts.shape is None:
        return None
    return best(facts, facts.shape) or holdable(facts, facts.shape)


def strategy(facts: Facts) -> Recommendation:
    """Full, LoRA or QLoRA, for the answered model and hardware."""
    if facts.model == SCRATCH:
        return Recommendation(
            FULL,
            "Random weights must all be trained.",
            ((LORA, "adapters need pretrained weights to adapt."),),
            "A pretrained base_model.",
        )
    shape = facts.shape
    if shape is None:
        return Recommendation(LORA, f"{facts.unknown_size}, and LoRA trains in little memory.")
    if facts.gpu is None:
        return _on_cpu(facts, shape)
    chosen = plan(facts)
    if chosen is None or memory(facts, shape, chosen) is None:
        return Recommendation(
            LORA if shape.params > 1e9 else FULL,
            f"The memory of {facts.model} is not known here; it has {size(shape)} parameters.",
        )
    gib = facts.needed_gib(memory(facts, shape, chosen))
    where = f"{gib:.1f} GiB{_each(facts)} on; the {facts.gpu.name} has {facts.gpu.memory_gib:.1f}"
    shared = " shared by fsdp" if chosen.parallelism == FSDP else ""
    label = STRATEGY_LABELS[chosen.strategy]
    by_name = " (by the name)" if facts.is_guessed(facts.model) else ""
    return Recommendation(
        chosen.strategy,
        f"{label} training of {size(shape)} parameters{by_name}{shared} needs from {where}.",
        tuple(_rejected(facts, shape, chosen)),
        _strategy_changes(facts, shape, chosen),
    )


def _on_cpu(facts: Facts, shape: Any) -> Recommendation:
    full, lora = (
        facts.memory(shape, Plan(way), sizes.usual(facts, shape, 1)) for way in (FULL, LORA)
    )
    need = f"about {full.peak_gib:.1f} GiB of memory" if full else "an unknown amount of memory"
    less = f"{lora.peak_gib:.1f} GiB" if lora else "less"
    qlora = (QLORA, "rounding to 4 bit saves memory, but every step on a CPU is slower for it.")
    if shape.params <= CPU_FULL_UP_TO:
        return Recommendation(
            FULL,
            f"Full training of {size(shape)} parameters needs {need}, which a computer can spare.",
            ((LORA, f"needs {less}, and there is no need to save."), qlora),
            f"More than {CPU_FULL_UP_TO / 1e6:.0f} M parameters.",
        )
    return Recommendation(
        LORA,
        f"LoRA of {size(shape)} parameters needs about {less}; expect it to be slow on a CPU.",
        ((FULL, f"needs {need}, and more time."), qlora),
        "A GPU, or a smaller model.",
    )


def _rejected(facts: Facts, shape: Any, chosen: Plan) -> Iterator[tuple[str, str]]:
    for other in (FULL, LORA, QLORA):
        if other == chosen.strategy or not facts.offers("strategy", other):
            continue
        ways = [plan for plan in plans(facts, shape, facts.gpu_count) if plan.strategy == other]
        needs = [(memory(facts, shape, way), way) for way in ways]
        known = [(facts.needed_gib(found), way) for found, way in needs if found is not None]
        if not known:
            continue
        whole = [(gib, way) for gib, way in known if way.parallelism != FSDP]
        fitting = [way for _, way in whole if facts.fits(memory(facts, shape, way))]
        gib, way = min(whole) if fitting else min(known)
        fits = facts.fits(memory(facts, shape, way))
        yield other, _why_not(facts, shape, chosen, way, gib, fits)


def _takes(facts: Facts, shape: Any, chosen: Plan, other: Plan) -> str:
    """`; 2 to 4 hours, not 1 to 2 hours`, or nothing."""
    times = []
    for way in (other, chosen):
        fitted, _ = sizes.fitted(facts, shape, way)
        times.append(facts.hours(shape, way, fitted))
    if None in times:
        return ""
    return f"; {duration(times[0])}, not {duration(times[1])}"


def _why_not(facts: Facts, shape: Any, chosen: Plan, other: Plan, gib: float, fitting: bool) -> str:
    need = f"{gib:.1f} GiB{_each(facts)}"
    if not fitting:
        return f"needs {need}, more than there is."
    if other.strategy == FULL:
        if other.parallelism == FSDP:
            return f"fits only shared by fsdp ({need}); LoRA's steps need far less exchange."
        times = _takes(facts, shape, chosen, other)
        return f"fits ({need}{times}), but above {FULL_UP_TO / 1e9:.0f} B the gain is small."
    if other.strategy == QLORA:
        if chosen.parallelism != FSDP:
            return f"fits ({need}), but rounds weights to 4 bit, without need."
        times = _takes(facts, shape, chosen, other)
        return f"fits with {other.parallelism} ({need}{times}), but rounds weights to 4 bit."
    if chosen.strategy == QLORA:
        if other.parallelism == FSDP:
            return f"fits only shared by fsdp ({need}), slow over PCIe."
        return f"fits only with tiny batches ({need})."
    return f"needs {need}, but there is room to train every weight."


def _strategy_changes(facts: Facts, shape: Any, chosen: Plan) -> str:
    if chosen.strategy == FULL:
        return f"A model above {FULL_UP_TO / 1e9:.0f} B parameters, or a GPU with less memory."
    wanted = FULL if chosen.strategy == LORA and shape.params <= FULL_UP_TO else LORA
    if wanted == chosen.strategy:
        return f"A model below {FULL_UP_TO / 1e9:.0f} B parameters, or a much smaller GPU."
    # the smallest GPU on which one alone would do better
    by_memory = sorted(facts.estimate.gpus().values(), key=lambda gpu: gpu.memory_gib)
    for gpu in by_memory:
        if gpu.memory_gib <= facts.gpu.memory_gib or gpu.name in NEVER_PROPOSED:
            continue
        if fits_well(facts, shape, Plan(wanted), gpu, count=1):
            label = STRATEGY_LABELS[wanted]
            return f"{label} training fits one {gpu.name} ({gpu.memory_gib:.1f} GiB)."
    return "A smaller model." if shape.params > FULL_UP_TO else "More GPUs, or a smaller model."


def parallelism(facts: Facts, chosen: str = "") -> Recommendation:
    """One process, one model a GPU, or one model shared; `chosen` is the answered strategy."""
    count, gpu = facts.gpu_count, facts.gpu
    if gpu is None or count == 1:
        what = "Without a GPU" if gpu is None else "With one GPU"
        return Recommendation(
            SINGLE,
            f"{what} there is one process.",
            ((DDP, "needs several GPUs."), (FSDP, "needs several GPUs.")),
            "gpu_count above 1.",
        )
    way = chosen or FULL
    options = [
        value
        for value in (DDP, FSDP)
        if facts.offers("parallelism", value) and (way, value) not in NOT_TOGETHER
        if value == DDP or can_share(gpu)
    ]
    if not options:
        return Recommendation(SINGLE, "This version trains on one GPU.")
    shape = facts.shape
    if shape is None:
        return Recommendation(options[0], f"{facts.unknown_size}; {options[0]} is the simplest.")
    needs = {value: memory(facts, shape, Plan(way, value)) for value in options}
    known = {value: facts.needed_gib(found) for value, found in needs.items() if found}
    fitting = [value for value in options if facts.fits(needs[value])]
    best_value = fitting[0] if fitting else options[-1]
    advised = plan(facts)
    if advised is not None and advised.strategy == way and advised.parallelism in options:
        best_value = advised.parallelism
    if best_value not in known:
        return Recommendation(best_value, "The memory of this model is not known here.")
    gib, have = known[best_value], f"the {gpu.name} has {gpu.memory_gib:.1f}"
    other = FSDP if best_value == DDP else DDP
    rejected = [(SINGLE, f"{count - 1} of {count} GPUs would stay idle.")]
    if best_value == DDP:
        reason = f"Each of {count} GPUs holds all of the model: {gib:.1f} GiB, {have}."
        if other in known:
            less = f"{known[other]:.1f} GiB each, but exchanges weights in every layer"
            rejected.append((FSDP, f"needs {less}, without need."))
        elif not can_share(gpu):
            rejected.append((FSDP, f"needs bf16, which the {gpu.name} does not have."))
        changes = "A model or strategy that one GPU cannot hold."
    else:
        reason = f"Shared by {count} GPUs, the model needs {gib:.1f} GiB of each; {have}."
        if other in known:
            full = "more than there is" if other not in fitting else "which leaves little room"
            rejected.append((DDP, f"needs {known[other]:.1f} GiB on each GPU, {full}."))
        changes = "A smaller model or QLoRA, of which each GPU holds a whole copy."
    return Recommendation(best_value, reason, tuple(rejected), changes)


def _each(facts: Facts) -> str:
    return " a GPU" if facts.gpu_count > 1 else ""
