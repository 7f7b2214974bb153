"""Which published build of PyTorch this machine's driver and GPUs can run."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from . import nvidia


@dataclass(frozen=True)
class TorchBuild:
    """A published build of PyTorch: oldest driver on Linux and Windows, range of GPUs."""

    name: str
    linux_driver: str
    windows_driver: str
    oldest_gpu: nvidia.Capability
    newest_gpu: nvidia.Capability


# Newest first. From PyTorch's RELEASE.md (2.12 to 2.14: CUDA 12.6 and 13.0; there is no 12.8 any
# more) and the driver table of NVIDIA's CUDA release notes. The end of the 13.0 range is open:
# that build carries PTX for GPUs to come.
TORCH_VERSIONS = ("2.12", "2.13", "2.14")
TORCH_BUILDS = (
    TorchBuild("cu130", "580.65.06", "580.88", (7, 5), (99, 0)),
    TorchBuild("cu126", "525.60.13", "528.33", (5, 0), (9, 0)),
)


@dataclass(frozen=True)
class TorchChoice:
    """A build, named as uv's `--torch-backend` does (None: the default one), and the reason.

    `remedy` says what would allow a better one.
    """

    backend: str | None
    reason: str
    remedy: str = ""


def choose(
    driver: nvidia.Driver | None,
    torch_version: str = TORCH_VERSIONS[-1],
    platform: str = sys.platform,
    visible: str | None = None,
    amd: bool = False,
) -> TorchChoice:
    """Choose the newest build that this driver and all of these GPUs can run."""
    if platform == "darwin":
        return TorchChoice(None, "macOS: one build, with Apple GPU support")
    if driver is None:
        if amd:
            return TorchChoice("auto", "AMD GPU: uv matches the ROCm build to it")
        return TorchChoice("cpu", "no NVIDIA GPU found")
    if not driver.version:
        return TorchChoice("cpu", driver.problem, driver.remedy)
    if ".".join(torch_version.split(".")[:2]) not in TORCH_VERSIONS:
        return TorchChoice("auto", f"PyTorch {torch_version} is not in the table: uv decides")
    gpus = nvidia.visible_gpus(driver.gpus, visible) or driver.gpus
    known = [gpu.compute_capability for gpu in gpus if gpu.compute_capability]
    for build in TORCH_BUILDS:
        oldest = build.windows_driver if platform == "win32" else build.linux_driver
        if nvidia.version_tuple(driver.version) < nvidia.version_tuple(oldest):
            continue
        if all(build.oldest_gpu <= cc <= build.newest_gpu for cc in known):
            return TorchChoice(build.name, f"driver {driver.version}")
    return TorchChoice(
        "cpu",
        f"no CUDA build of PyTorch {torch_version} runs with driver {driver.version}"
        + (f" on {gpus[0].name}" if gpus else ""),
        f"Update the NVIDIA driver to {TORCH_BUILDS[0].linux_driver} or newer, then `make setup`.",
    )
