"""The doctor's checks. Each looks at the facts and returns its findings."""

from __future__ import annotations

import platform
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from . import nvidia
from .environments import accepts
from .facts import Facts, collect
from .torch_build import TORCH_BUILDS

# What training adds to an estimate before it fits: fragmentation, and CUDA's own context.
MARGIN = 1.10
CONTEXT_GIB = 0.7
SETUP = "Run `make setup`."


@dataclass(frozen=True)
class Finding:
    """One result; status is ok, warning, error or skipped."""

    name: str
    status: str
    message: str
    remedy: str = ""


def examine(root: Path) -> list[Finding]:
    """Ask the machine and return every finding."""
    return findings(collect(root))


def findings(facts: Facts) -> list[Finding]:
    """Return what the checks find in these facts."""
    checks = (python, accelerator, pytorch, driver_runs_build, build_knows_gpu, gpu_memory, disk)
    return [finding for check in checks for finding in check(facts)]


def python(facts: Facts) -> Iterator[Finding]:
    """The Python in .venv, or else the one that runs this and has the project."""
    if facts.installed:
        program = facts.installed.program
        own = program.is_absolute() and (facts.root / ".venv").absolute() not in program.parents
        place = f"of {program}, as there is no usable .venv" if own else "in .venv"
        yield Finding("python", "ok", f"Python {facts.installed.version} {place}")
        return
    here = platform.python_version()
    status = "fits" if accepts(facts.requires_python, here) else "does not fit"
    yield Finding(
        "python",
        "error",
        f"no usable .venv (this is Python {here}, which {status} {facts.requires_python})",
        SETUP,
    )


def accelerator(facts: Facts) -> Iterator[Finding]:
    """Which kind of processor trains here."""
    driver = facts.driver
    if driver and driver.problem:
        yield Finding("gpu", "error", driver.problem, driver.remedy)
    elif driver and not facts.gpus:
        yield Finding(
            "gpu",
            "warning",
            f"CUDA_VISIBLE_DEVICES={facts.visible!r} hides all {len(driver.gpus)} GPUs",
            "Unset it to train on a GPU.",
        )
    elif driver:
        names = ", ".join(f"{gpu.index}: {gpu.name}" for gpu in facts.gpus)
        cuda = f", CUDA up to {driver.cuda}" if driver.cuda else ""
        yield Finding("gpu", "ok", f"{names} (driver {driver.version}{cuda})")
        if len(facts.gpus) < facts.processes:
            yield Finding(
                "gpus",
                "warning",
                f"`make train` starts a process for each of {facts.processes} GPUs, and here are "
                f"{len(facts.gpus)}",
                f"Run `make train GPUS={len(facts.gpus)}` on this machine.",
            )
        yield from _mig(facts)
    elif facts.system == "darwin" and facts.processor == "arm64":
        yield Finding("gpu", "ok", "Apple GPU (MPS)")
    elif not facts.amd:
        yield Finding("gpu", "ok", "no GPU: this machine trains on its CPU, small models only")
    if facts.amd:
        yield Finding(
            "rocm",
            "ok" if facts.torch.get("hip") else "warning",
            f"AMD GPU found; the installed PyTorch is {facts.torch.get('torch', 'missing')}",
            ""
            if facts.torch.get("hip")
            else "For ROCm run `UV_TORCH_BACKEND=auto make setup`; it is untested here.",
        )


def _mig(facts: Facts) -> Iterator[Finding]:
    for gpu in facts.gpus:
        if gpu.mig and not gpu.mig_devices:
            yield Finding(
                "mig",
                "error",
                f"GPU {gpu.index} is in MIG mode and has no MIG device, so CUDA cannot use it",
                "Create one (`nvidia-smi mig -cgi …`) or turn MIG off (`nvidia-smi -mig 0`); "
                "both need an administrator.",
            )
        elif gpu.mig:
            profiles = ", ".join(mig.profile for mig in gpu.mig_devices)
            yield Finding("mig", "ok", f"GPU {gpu.index} is split: {profiles}; a run uses one")


def pytorch(facts: Facts) -> Iterator[Finding]:
    """PyTorch is there, and is the build for this machine."""
    if not facts.uses_torch or facts.installed is None:
        return
    if "torch" not in facts.torch:
        yield Finding(
            "pytorch",
            "error",
            f"PyTorch does not start ({facts.torch.get('error', 'not installed')})",
            "Run `make setup`; if it says that there is nothing to do, "
            "`python scripts/setup_env.py --force`.",
        )
        return
    version, cuda = facts.torch["torch"], facts.torch.get("cuda")
    if facts.gpus and not cuda and not facts.torch.get("hip"):
        yield Finding(
            "pytorch",
            "warning",
            f"PyTorch {version} is a CPU build, so the GPU is not used",
            "Run `make setup`; if your package index has only this build, set UV_TORCH_BACKEND "
            "(cu130, cu126) or ask for a CUDA build there.",
        )
        return
    kind = f"CUDA {cuda}" if cuda else "ROCm" if facts.torch.get("hip") else "CPU"
    if facts.torch.get("mps"):
        kind += " and Apple GPU"
    yield Finding("pytorch", "ok", f"PyTorch {version}, built for {kind}")


def driver_runs_build(facts: Facts) -> Iterator[Finding]:
    """The driver is new enough for the CUDA that PyTorch was built with."""
    cuda = facts.torch.get("cuda")
    if not cuda or not facts.driver or not facts.driver.version:
        return
    major = int(cuda.split(".")[0])
    needed = {13: TORCH_BUILDS[0].linux_driver, 12: TORCH_BUILDS[1].linux_driver}.get(major, "")
    version = facts.driver.version
    if needed and nvidia.version_tuple(version) < nvidia.version_tuple(needed):
        yield Finding(
            "driver",
            "error",
            f"NVIDIA driver {version} is too old for PyTorch built with CUDA {cuda}",
            f"Update the driver to {needed} or newer, or run `make setup`, "
            "which takes a build that this driver runs.",
        )
    elif facts.gpus and not facts.torch.get("available"):
        yield Finding(
            "driver",
            "error",
            f"PyTorch cannot use the GPU, although driver {version} runs CUDA {cuda}",
            "Check that the container has GPU access (/dev/nvidia*), that no other process holds "
            "the GPU exclusively, and that LD_LIBRARY_PATH names no other CUDA.",
        )
    else:
        yield Finding("driver", "ok", f"driver {version} runs PyTorch's CUDA {cuda}")


def build_knows_gpu(facts: Facts) -> Iterator[Finding]:
    """PyTorch's build holds code for each GPU."""
    architectures = facts.torch.get("architectures") or []
    if not facts.torch.get("cuda"):
        return
    for gpu in facts.gpus:
        capability = gpu.compute_capability
        if capability is None or not architectures:
            reason = f"compute capability of {gpu.name} or of the build is unknown"
            yield Finding("architecture", "skipped", reason)
        elif runs_on(architectures, capability):
            number = ".".join(map(str, capability))
            yield Finding("architecture", "ok", f"{gpu.name} ({number}) is in PyTorch's build")
        else:
            number = "".join(map(str, capability))
            yield Finding(
                "architecture",
                "error",
                f"{gpu.name} (sm_{number}) is not in PyTorch's build ({' '.join(architectures)})",
                "For V100 and older run `UV_TORCH_BACKEND=cu126 make setup`; for newer GPUs "
                "update the driver to 580 or newer, then `make setup`.",
            )


def runs_on(architectures: list[str], capability: nvidia.Capability) -> bool:
    """Whether one of `sm_80`, `sm_90a`, `compute_120` … has code for this compute capability.

    Machine code (sm) runs within its generation on the same or a newer minor version, code with
    a suffix (a, f) on exactly its own; PTX (compute) is compiled for anything newer.
    """
    for architecture in architectures:
        found = re.fullmatch(r"(sm|compute)_(\d+)(\d)([a-z]?)", architecture)
        if not found:
            continue
        built = (int(found[2]), int(found[3]))
        if built == capability:
            return True
        if found[4] or built > capability:
            continue
        if found[1] == "compute" or built[0] == capability[0]:
            return True
    return False


def gpu_memory(facts: Facts) -> Iterator[Finding]:
    """The free GPU memory is enough for configs/train.yaml."""
    if not facts.gpus:
        return
    if "peak_gib" not in facts.estimate:
        reason = facts.estimate.get("error", "no estimate")
        yield Finding("memory", "skipped", f"not checked against the estimate: {reason}")
        return
    peak = facts.estimate["peak_gib"]
    needed = peak * MARGIN + CONTEXT_GIB
    for gpu in facts.gpus:
        free, total = usable_gib(gpu)
        if free is None:
            yield Finding("memory", "skipped", f"{gpu.name} does not say how much memory is free")
        elif free >= needed:
            yield Finding(
                "memory", "ok", f"{gpu.name}: {free:.1f} GiB free, about {needed:.1f} needed"
            )
        else:
            # The driver keeps about 3 % for itself.
            busy = total is not None and total * 0.97 >= needed
            yield Finding(
                "memory",
                "warning",
                f"{gpu.name}: {free:.1f} GiB free, configs/train.yaml needs about {needed:.1f}",
                "Other programs hold the memory (`nvidia-smi`): stop them or choose another GPU "
                "with CUDA_VISIBLE_DEVICES."
                if busy
                else "Lower train.micro_batch_size or train.max_seq_len, set "
                "train.activation_checkpointing, or use LoRA (`make estimate`).",
            )


def usable_gib(gpu: nvidia.Gpu) -> tuple[float | None, float | None]:
    """Return free and total memory; of a split GPU its largest MIG device."""
    if gpu.mig:
        sizes = [mig.memory_gib for mig in gpu.mig_devices if mig.memory_gib]
        largest = max(sizes, default=None)
        return largest, largest
    free, total = gpu.memory_free_mib, gpu.memory_total_mib
    return (free / 1024 if free is not None else None), (total / 1024 if total else None)


def disk(facts: Facts) -> Iterator[Finding]:
    """There is room for checkpoints; each is some GiB."""
    free = facts.free_disk_gib
    if free < 2:
        yield Finding("disk", "error", f"{free:.1f} GiB free", "Free at least 5 GiB.")
    elif free < 20:
        remedy = "Free some, or put models/ on a larger disk (train.output_dir)."
        yield Finding("disk", "warning", f"{free:.0f} GiB free; checkpoints may not fit", remedy)
    else:
        yield Finding("disk", "ok", f"{free:.0f} GiB free")
