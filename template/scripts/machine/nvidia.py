"""What nvidia-smi says: the driver, its GPUs and what is wrong with them.

Standard library only and free of sibling imports, so that it can be loaded by its path.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

Capability = tuple[int, int]

FIELDS = "index,name,uuid,driver_version,memory.total,memory.free,compute_cap,mig.mode.current"
# Drivers before 510 refuse the whole query for one unknown field.
FIELDS_OLD = "index,name,uuid,driver_version,memory.total,memory.free"


@dataclass(frozen=True)
class Mig:
    """One MIG device: a slice of a GPU, with a share of its memory."""

    profile: str
    uuid: str
    memory_gib: float | None


@dataclass(frozen=True)
class Gpu:
    """One GPU. Memory is None where the driver does not say (unified memory, no permission)."""

    index: int
    name: str
    uuid: str
    memory_total_mib: int | None
    memory_free_mib: int | None
    compute_capability: Capability | None
    mig: bool = False
    mig_devices: tuple[Mig, ...] = ()


@dataclass(frozen=True)
class Driver:
    """The NVIDIA driver; `cuda` is the newest CUDA it runs; `problem` is empty when it works."""

    version: str = ""
    cuda: str = ""
    gpus: tuple[Gpu, ...] = ()
    problem: str = ""
    remedy: str = ""


# For drivers which do not report the compute capability. The first match counts.
CAPABILITY_BY_NAME: tuple[tuple[str, Capability], ...] = (
    (r"B300", (10, 3)),
    (r"\bG?B[12]00", (10, 0)),
    (r"GB10\b", (12, 1)),
    (r"Blackwell|RTX 50[5-9]0|RTX 6000D", (12, 0)),
    (r"\b(G?H[12]00|H800|H20)\b", (9, 0)),
    (r"\bL(4|20|40S?)\b|\bAda\b|RTX 40[5-9]0", (8, 9)),
    (r"\bA(100|800|30)\b", (8, 0)),
    (r"\bA(10G?|16|2|40)\b|RTX A\d+|RTX 30[5-9]0", (8, 6)),
    (r"\bT4G?\b|TITAN RTX|Quadro RTX|RTX 20[6-8]0|GTX 16\d0|\bT(400|600|1000)\b", (7, 5)),
    (r"V100|TITAN V|GV100", (7, 0)),
    (r"P100|GP100", (6, 0)),
    (r"\bP(4|6|40)\b|GTX 10\d0|TITAN Xp?\b|Quadro P\d+", (6, 1)),
    (r"\bM(4|6|10|40|60)\b|GTX 9\d0", (5, 2)),
    (r"\bK80\b", (3, 7)),
)

# What nvidia-smi prints instead of an answer → what is wrong, what to do.
PROBLEMS: tuple[tuple[str, str, str], ...] = (
    (
        r"couldn't communicate with the NVIDIA driver",
        "the NVIDIA driver is installed but not running",
        "Reboot; if that does not help (a new kernel, Secure Boot), reinstall the driver.",
    ),
    (
        r"Driver/library version mismatch",
        "the NVIDIA driver was updated while the old one is still loaded",
        "Reboot.",
    ),
    (
        r"Insufficient Permissions",
        "this user may not use the NVIDIA devices",
        "In a container, start it with GPU access (docker run --gpus all); elsewhere ask for "
        "read and write permission on /dev/nvidia*.",
    ),
    (
        r"No devices were found",
        "the NVIDIA driver is running but sees no GPU",
        "Check that the machine (or container) was given a GPU, and the kernel log (dmesg).",
    ),
    (
        r"Unable to determine the device handle|GPU is lost",
        "a GPU has stopped answering the driver",
        "Reboot; if it happens again, check the GPU's power and cooling.",
    ),
    (
        r"Failed to initialize NVML",
        "the NVIDIA driver cannot be initialized",
        "Reboot (or restart the container) and check that `nvidia-smi` lists the GPU.",
    ),
)


def version_tuple(version: str) -> tuple[int, ...]:
    """Return `535.183.01` as (535, 183, 1)."""
    return tuple(int(part) for part in re.findall(r"\d+", version))


def parse_nvidia_smi(
    query: str, header: str = "", listing: str = "", fields: str = FIELDS
) -> Driver:
    """Read the outputs of `--query-gpu=<fields>`, of plain `nvidia-smi` and of `nvidia-smi -L`."""
    rows = [_row(line, fields) for line in query.splitlines()]
    found = [row for row in rows if row]
    mig = _parse_mig(listing)
    gpus = tuple(replace(_gpu(row), mig_devices=mig.get(int(row["index"]), ())) for row in found)
    version = found[0]["driver_version"] if found else ""
    # Release 610 renamed both: "KMD Version: 610.43.02   CUDA UMD Version: 13.3".
    named = re.search(r"(?:Driver|KMD) Version:\s*([\d.]+)", header)
    cuda = re.search(r"CUDA (?:UMD )?Version:\s*([\d.]+)", header)
    driver = Driver(version or (named[1] if named else ""), cuda[1] if cuda else "", gpus)
    for pattern, problem, remedy in PROBLEMS:
        if re.search(pattern, query) or (not found and re.search(pattern, header)):
            return replace(driver, problem=problem, remedy=remedy)
    return driver


def _row(line: str, fields: str) -> dict[str, str]:
    names, values = fields.split(","), [value.strip() for value in line.split(",")]
    complete = len(names) == len(values) and values[0].isdigit()
    return dict(zip(names, values, strict=True)) if complete else {}


def _gpu(row: dict[str, str]) -> Gpu:
    reported = re.fullmatch(r"(\d+)\.(\d+)", row.get("compute_cap", ""))
    return Gpu(
        index=int(row["index"]),
        name=row["name"],
        uuid=row["uuid"],
        memory_total_mib=_mib(row["memory.total"]),
        memory_free_mib=_mib(row["memory.free"]),
        compute_capability=(int(reported[1]), int(reported[2]))
        if reported
        else capability_by_name(row["name"]),
        mig=row.get("mig.mode.current") == "Enabled",
    )


def _mib(value: str) -> int | None:
    """None for `[N/A]`, `[Not Supported]` and `[Insufficient Permissions]`."""
    return int(value) if value.isdigit() else None


def capability_by_name(name: str) -> Capability | None:
    """Return the compute capability of a product name, None for an unknown one."""
    return next((cc for pattern, cc in CAPABILITY_BY_NAME if re.search(pattern, name)), None)


def _parse_mig(listing: str) -> dict[int, tuple[Mig, ...]]:
    """Read `nvidia-smi -L`: indented `MIG 1g.10gb Device 0: (UUID: MIG-…)` under its GPU."""
    found: dict[int, tuple[Mig, ...]] = {}
    gpu = -1
    for line in listing.splitlines():
        if heading := re.match(r"GPU (\d+):", line):
            gpu = int(heading[1])
        elif device := re.match(r"\s+MIG (\S+)\s+Device\s+\d+: \(UUID: (\S+)\)", line):
            size = re.search(r"(\d+)gb", device[1])
            mig = Mig(device[1], device[2], float(size[1]) if size else None)
            found[gpu] = (*found.get(gpu, ()), mig)
    return found


def visible_gpus(gpus: Sequence[Gpu], value: str | None) -> tuple[Gpu, ...]:
    """Return the GPUs which CUDA_VISIBLE_DEVICES=`value` leaves; None means all.

    As CUDA does it: the list ends at the first entry that is no device (`-1`, empty).
    """
    if value is None:
        return tuple(gpus)
    chosen: list[Gpu] = []
    for entry in (entry.strip() for entry in value.split(",")):
        match = next((gpu for gpu in gpus if _names(entry, gpu)), None)
        if match is None:
            break
        chosen.append(match)
    return tuple(chosen)


def _names(entry: str, gpu: Gpu) -> bool:
    return (
        entry == str(gpu.index)
        or (entry.startswith("GPU-") and gpu.uuid.startswith(entry))
        or any(entry == mig.uuid for mig in gpu.mig_devices)
    )


def detect() -> Driver | None:
    """Ask this machine's nvidia-smi; None where there is no NVIDIA driver at all."""
    program = find_nvidia_smi()
    if program is None:
        loaded = Path("/proc/driver/nvidia/version")
        text = loaded.read_text(errors="replace") if loaded.is_file() else ""
        version = re.search(r"Module\s+(?:for \S+\s+)?(\d+\.[\d.]+)", text)
        if not version:
            return None
        return Driver(
            version[1],
            problem="the NVIDIA driver is loaded but nvidia-smi is missing",
            remedy="Install the driver's utilities, or give the container the `utility` capability "
            "(NVIDIA_DRIVER_CAPABILITIES=compute,utility).",
        )
    fields = FIELDS
    query = _output(program, f"--query-gpu={fields}", "--format=csv,noheader,nounits")
    if "not a valid field to query" in query:
        fields = FIELDS_OLD
        query = _output(program, f"--query-gpu={fields}", "--format=csv,noheader,nounits")
    listing = _output(program, "-L") if "Enabled" in query else ""
    driver = parse_nvidia_smi(query, _output(program), listing, fields)
    if driver.gpus or driver.problem:
        return driver
    return replace(
        driver,
        problem=f"nvidia-smi gives no usable answer ({query.strip()[:80] or 'no output'})",
        remedy="Run `nvidia-smi` by hand; it must list the GPU within a few seconds.",
    )


def find_nvidia_smi() -> str | None:
    """Return the program's path; on WSL it is often outside PATH."""
    wsl = Path("/usr/lib/wsl/lib/nvidia-smi")
    return shutil.which("nvidia-smi") or (str(wsl) if wsl.is_file() else None)


def _output(program: str, *arguments: str, timeout_s: float = 20.0) -> str:
    """Return stdout and stderr, whatever the exit code; what it printed is the answer."""
    try:
        done = subprocess.run(
            [program, *arguments], capture_output=True, text=True, errors="replace",
            timeout=timeout_s, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"no answer within {timeout_s:.0f} s"
    except OSError as error:
        return str(error)
    return done.stdout + done.stderr


def amd_gpu() -> bool:
    """Whether ROCm's kernel driver or tools are here."""
    return Path("/dev/kfd").exists() or any(map(shutil.which, ("amd-smi", "rocm-smi")))
