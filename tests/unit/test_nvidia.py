"""nvidia-smi: real outputs of several drivers, and which PyTorch build each machine can run."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from machine_scripts import FIXTURES, ROOT, answers, install_fake_nvidia_smi, machine

pytestmark = pytest.mark.unit
nvidia = machine("nvidia")
torch_build = machine("torch_build")

Detect = Callable[[str], Any]
WORKING = sorted(path.stem for path in FIXTURES.glob("[0-9]*.txt"))
BROKEN = sorted(path.stem for path in FIXTURES.glob("*.txt") if path.stem not in WORKING)


@pytest.fixture
def detect(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Detect:
    """Ask a fake nvidia-smi that answers as a fixture does."""

    def run(fixture: str) -> Any:
        folder = tmp_path / fixture
        install_fake_nvidia_smi(folder, fixture)
        monkeypatch.setenv("PATH", f"{folder}{os.pathsep}/usr/bin{os.pathsep}/bin")
        return nvidia.detect()

    return run


@pytest.mark.parametrize("fixture", WORKING)
def test_query_agrees_with_the_table_people_see(fixture: str, detect: Detect) -> None:
    driver = detect(fixture)
    table = answers(fixture)[""]
    assert driver.problem == ""
    assert f"{driver.version} " in table and f"Version: {driver.cuda} " in table
    totals = [int(total) for total in re.findall(r"/\s*(\d+)MiB", table)]
    assert [gpu.memory_total_mib for gpu in driver.gpus] == totals
    assert all(0 < gpu.memory_free_mib <= gpu.memory_total_mib for gpu in driver.gpus)
    assert all(gpu.compute_capability for gpu in driver.gpus)


def test_driver_without_compute_capability_is_asked_again_and_known_by_name(detect: Detect) -> None:
    (gpu,) = detect("470_v100").gpus
    assert gpu.name == "Tesla V100-SXM2-16GB"
    assert gpu.compute_capability == (7, 0)


def test_mig_devices_are_listed_with_their_memory(detect: Detect) -> None:
    (gpu,) = detect("535_a100_mig").gpus
    assert gpu.mig
    assert len(gpu.mig_devices) == 7
    assert {(mig.profile, mig.memory_gib) for mig in gpu.mig_devices} == {("1g.10gb", 10.0)}


def test_release_610_renamed_the_header(detect: Detect) -> None:
    driver = detect("610_b200")
    assert (driver.version, driver.cuda) == ("610.43.02", "13.3")


@pytest.mark.parametrize("fixture", BROKEN)
def test_broken_driver_is_a_sentence_with_a_remedy(fixture: str, detect: Detect) -> None:
    driver = detect(fixture)
    assert driver.gpus == ()
    assert driver.problem and driver.remedy.endswith(".")
    assert "Traceback" not in driver.problem


def test_each_broken_state_has_its_own_sentence(detect: Detect) -> None:
    assert len({detect(fixture).problem for fixture in BROKEN}) == len(BROKEN)


def test_unusable_answer_is_a_problem(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho segfault\nexit 139\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "no usable answer (segfault" in nvidia.detect().problem


def test_one_lost_gpu_beside_a_working_one_is_a_problem() -> None:
    row = "0, Tesla T4, GPU-1, 535.1, 15360, 15000, 7.5, [N/A]\n"
    lost = "Unable to determine the device handle for GPU 0000:3B:00.0: Unknown Error\n"
    driver = nvidia.parse_nvidia_smi(row + lost)
    assert len(driver.gpus) == 1 and "stopped answering" in driver.problem


def test_unreported_memory_is_none() -> None:
    row = "0, NVIDIA GB10, GPU-1, 580.95.05, [N/A], [N/A], 12.1, [N/A]"
    (gpu,) = nvidia.parse_nvidia_smi(row).gpus
    assert (gpu.memory_total_mib, gpu.memory_free_mib) == (None, None)


def test_no_driver_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(nvidia, "find_nvidia_smi", lambda: None)
    monkeypatch.setattr(nvidia.Path, "is_file", lambda self: False)
    assert nvidia.detect() is None


@pytest.mark.parametrize(
    ("value", "indices"),
    [
        (None, [0, 1]),
        ("0", [0]),
        ("1,0", [1, 0]),
        ("", []),
        ("-1", []),
        ("1,7,0", [1]),
        ("GPU-00000000-0000-0000-0000-000000000002", [1]),
        (" 1 ", [1]),
    ],
)
def test_cuda_visible_devices_is_read_as_cuda_does(
    value: str | None, indices: list[int], detect: Detect
) -> None:
    gpus = detect("580_rtx5090_rtx4090").gpus
    assert [gpu.index for gpu in nvidia.visible_gpus(gpus, value)] == indices


def test_a_mig_device_can_be_made_visible(detect: Detect) -> None:
    gpus = detect("535_a100_mig").gpus
    chosen = nvidia.visible_gpus(gpus, "MIG-feb88891-0321-5fef-9c87-d4af3b54259e")
    assert [gpu.index for gpu in chosen] == [0]


@pytest.mark.parametrize(
    ("name", "capability"),
    [
        ("Tesla T4", (7, 5)),
        ("Tesla V100-SXM2...", (7, 0)),
        ("NVIDIA A100-SXM4-80GB", (8, 0)),
        ("NVIDIA A10G", (8, 6)),
        ("NVIDIA A40", (8, 6)),
        ("NVIDIA RTX A6000", (8, 6)),
        ("NVIDIA GeForce RTX 3090", (8, 6)),
        ("NVIDIA L4", (8, 9)),
        ("NVIDIA L40S", (8, 9)),
        ("NVIDIA RTX 6000 Ada Generation", (8, 9)),
        ("NVIDIA GeForce RTX 4090", (8, 9)),
        ("NVIDIA H100 80GB HBM3", (9, 0)),
        ("NVIDIA GH200 480GB", (9, 0)),
        ("NVIDIA B200", (10, 0)),
        ("NVIDIA GB200", (10, 0)),
        ("NVIDIA GeForce RTX 5090", (12, 0)),
        ("NVIDIA RTX PRO 6000 Blackwell Workstation Edition", (12, 0)),
        ("Tesla P100-PCIE-16GB", (6, 0)),
        ("NVIDIA GeForce GTX 1080 Ti", (6, 1)),
        ("Quadro RTX 4000", (7, 5)),
        ("something new", None),
    ],
)
def test_capability_by_name(name: str, capability: Any) -> None:
    assert nvidia.capability_by_name(name) == capability


@pytest.mark.parametrize(
    ("fixture", "backend"),
    [
        ("470_v100", "cpu"),  # no CUDA 12 with 470
        ("525_v100", "cu126"),
        ("535_two_quadro", "cu126"),
        ("535_a100_mig", "cu126"),
        ("550_p4", "cu126"),
        ("550_rtx4070", "cu126"),
        ("570_rtx5060ti", "cpu"),  # Blackwell needs CUDA 12.8 or newer: only 13.0 is published
        ("580_rtx5090_rtx4090", "cu130"),
        ("580_a100", "cu130"),
        ("610_b200", "cu130"),
        ("broken_not_running", "cpu"),
        ("no_devices", "cpu"),
    ],
)
def test_build_for_driver_and_gpu(fixture: str, backend: str, detect: Detect) -> None:
    choice = torch_build.choose(detect(fixture), "2.13.0", platform="linux")
    assert choice.backend == backend
    assert bool(choice.remedy) == (backend == "cpu")


def _driver(version: str, *capabilities: tuple[int, int]) -> Any:
    gpus = tuple(
        nvidia.Gpu(i, f"gpu{i}", f"GPU-{i}", 1, 1, capability)
        for i, capability in enumerate(capabilities)
    )
    return nvidia.Driver(version, "", gpus)


@pytest.mark.parametrize(
    ("version", "capabilities", "backend"),
    [
        ("580.65.06", [(8, 0)], "cu130"),
        ("580.65.05", [(8, 0)], "cu126"),
        ("525.60.13", [(8, 0)], "cu126"),
        ("525.60.11", [(8, 0)], "cpu"),
        ("595.71.05", [(7, 0)], "cu126"),  # CUDA 13 has no code for V100, whatever the driver
        ("595.71.05", [(7, 0), (8, 0)], "cu126"),
        ("595.71.05", [(7, 0), (12, 0)], "cpu"),  # no build has code for both
        ("595.71.05", [(3, 7)], "cpu"),
        ("595.71.05", [], "cu130"),
    ],
)
def test_build_at_the_limits(
    version: str, capabilities: list[tuple[int, int]], backend: str
) -> None:
    choice = torch_build.choose(_driver(version, *capabilities), "2.13.0", platform="linux")
    assert choice.backend == backend


def test_a_hidden_gpu_does_not_limit_the_build() -> None:
    driver = _driver("595.71.05", (7, 0), (12, 0))
    assert torch_build.choose(driver, "2.13.0", "linux", visible="1").backend == "cu130"
    # hiding all of them is a way to run on the CPU for a while, not a wish for another build
    hidden = torch_build.choose(_driver("580.95.05", (8, 0)), "2.13.0", "linux", visible="")
    assert hidden.backend == "cu130"


def test_build_without_nvidia() -> None:
    assert torch_build.choose(None, "2.13.0", "linux").backend == "cpu"
    assert torch_build.choose(None, "2.13.0", "linux", amd=True).backend == "auto"
    assert torch_build.choose(None, "2.13.0", "darwin").backend is None
    assert torch_build.choose(_driver("580.95.05", (8, 0)), "9.9.0", "linux").backend == "auto"


def test_table_of_builds_knows_the_pinned_pytorch() -> None:
    pins = (ROOT / "locks" / "transformers.txt").read_text("utf-8")
    pinned = re.search(r"(?m)^torch==(\d+\.\d+)", pins)
    assert pinned is not None
    assert pinned[1] in torch_build.TORCH_VERSIONS
