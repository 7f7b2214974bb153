"""The doctor: what it finds on which machine, and that every finding which is bad has a remedy."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from machine_scripts import answers, executable, install_fake_nvidia_smi, machine, make_project

pytestmark = pytest.mark.unit
nvidia = machine("nvidia")
facts_module = machine("facts")
checks = machine("checks")
environments = machine("environments")

CPU = {"torch": "2.13.0+cpu", "cuda": None, "hip": None, "available": False, "mps": False}
CU130 = {
    "torch": "2.13.0+cu130",
    "cuda": "13.0",
    "hip": None,
    "available": True,
    "architectures": ["sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120", "compute_120"],
}
CU126 = CU130 | {
    "torch": "2.13.0+cu126",
    "cuda": "12.6",
    "architectures": ["sm_50", "sm_60", "sm_70", "sm_75", "sm_80", "sm_86", "sm_90"],
}


def driver(fixture: str) -> Any:
    said = answers(fixture)
    queries = [key for key in said if key.startswith("--query-gpu")]
    fields = queries[-1].split()[0].removeprefix("--query-gpu=")
    return nvidia.parse_nvidia_smi(said[queries[-1]], said[""], said.get("-L", ""), fields)


def findings(**changes: Any) -> dict[str, Any]:
    """Return the findings by name of a machine that differs in these facts."""
    facts = facts_module.Facts(
        root=Path(),
        installed=environments.Installed(Path("python"), "3.12.1", Path("site-packages")),
        torch=CPU,
        free_disk_gib=100.0,
        system="linux",
        processor="x86_64",
    )
    facts = dataclasses.replace(facts, **changes)
    return {finding.name: finding for finding in checks.findings(facts)}


def test_cpu_machine_is_fine() -> None:
    found = findings()
    assert {finding.status for finding in found.values()} <= {"ok", "skipped"}
    assert "no GPU" in found["gpu"].message
    assert found["pytorch"].message == "PyTorch 2.13.0+cpu, built for CPU"


def test_good_gpu_machine_is_fine() -> None:
    found = findings(driver=driver("580_a100"), torch=CU130, estimate={"peak_gib": 20.0})
    assert {finding.status for finding in found.values()} == {"ok"}
    assert "driver 580.126.09, CUDA up to 13.0" in found["gpu"].message
    assert "38.9 GiB free, about 22.7 needed" in found["memory"].message


def test_fewer_gpus_than_processes_is_a_warning() -> None:
    found = findings(driver=driver("535_two_quadro"), torch=CU126, processes=4)["gpus"]
    assert found.status == "warning"
    assert "each of 4 GPUs, and here are 2" in found.message and "GPUS=2" in found.remedy
    assert "gpus" not in findings(driver=driver("535_two_quadro"), torch=CU126, processes=2)


def test_gpu_with_a_cpu_build_is_a_warning() -> None:
    found = findings(driver=driver("580_a100"))["pytorch"]
    assert found.status == "warning"
    assert "CPU build" in found.message and "make setup" in found.remedy


def test_driver_too_old_for_the_build() -> None:
    torch = CU130 | {"available": False}
    found = findings(driver=driver("535_two_quadro"), torch=torch)["driver"]
    assert found.status == "error"
    assert "535.129.03 is too old" in found.message and "580.65.06" in found.remedy


def test_driver_in_order_but_gpu_unusable() -> None:
    torch = CU126 | {"available": False}
    found = findings(driver=driver("535_two_quadro"), torch=torch)["driver"]
    assert found.status == "error" and "container" in found.remedy


def test_gpu_older_than_the_build() -> None:
    found = findings(driver=driver("525_v100"), torch=CU130 | {"cuda": "12.8"})["architecture"]
    assert found.status == "error"
    assert "sm_70" in found.message and "cu126" in found.remedy


def test_gpu_newer_than_the_build() -> None:
    found = findings(driver=driver("580_rtx5090_rtx4090"), torch=CU126)
    assert found["architecture"].status in {"ok", "error"}  # the last GPU of that name
    all_found = checks.findings(
        facts_module.Facts(
            root=Path(),
            torch=CU126,
            driver=driver("580_rtx5090_rtx4090"),
            free_disk_gib=100.0,
        )
    )
    by_gpu = [finding.status for finding in all_found if finding.name == "architecture"]
    assert by_gpu == ["error", "ok"]


@pytest.mark.parametrize(
    ("architectures", "capability", "runs"),
    [
        (["sm_80"], (8, 0), True),
        (["sm_80"], (8, 9), True),  # machine code runs on newer minor versions
        (["sm_86"], (8, 0), False),
        (["sm_80"], (9, 0), False),  # but not on another generation
        (["sm_90a"], (9, 0), True),
        (["sm_100a"], (10, 3), False),
        (["compute_80"], (9, 0), True),  # PTX is compiled for what is newer
        (["compute_120"], (9, 0), False),
        (["sm_100"], (10, 3), True),
        (["sm_120"], (12, 1), True),
        ([], (8, 0), False),
        (["gfx90a"], (9, 0), False),
    ],
)
def test_which_code_runs_where(architectures: list[str], capability: Any, runs: bool) -> None:
    assert checks.runs_on(architectures, capability) is runs


@pytest.mark.parametrize("fixture", ["broken_mismatch", "broken_not_running", "no_devices"])
def test_broken_driver_is_an_error_with_a_remedy(fixture: str) -> None:
    found = findings(driver=driver(fixture))["gpu"]
    assert found.status == "error" and found.remedy


def test_hidden_gpus_are_said() -> None:
    found = findings(driver=driver("580_a100"), torch=CU130 | {"available": False}, visible="")
    assert found["gpu"].status == "warning"
    assert "hides all 2 GPUs" in found["gpu"].message
    assert found["driver"].status == "ok"


def test_only_visible_gpus_are_checked() -> None:
    found = findings(driver=driver("580_rtx5090_rtx4090"), torch=CU126, visible="1")
    assert found["architecture"].status == "ok"
    assert "5090" not in found["gpu"].message


@pytest.mark.parametrize(
    ("peak", "fixture", "status", "remedy"),
    [
        (10.0, "550_rtx4070", "warning", "micro_batch_size"),  # never fits 12 GiB
        (3.0, "550_p4", "warning", "Other programs"),  # would fit, but 7.7 of 8 GiB are taken
        (3.0, "550_rtx4070", "ok", ""),
    ],
)
def test_memory_against_the_estimate(peak: float, fixture: str, status: str, remedy: str) -> None:
    found = findings(driver=driver(fixture), torch=CU126, estimate={"peak_gib": peak})["memory"]
    assert found.status == status
    assert remedy in found.remedy


def test_memory_of_a_split_gpu_is_that_of_one_slice() -> None:
    a100 = driver("535_a100_mig")
    found = findings(driver=a100, torch=CU126, estimate={"peak_gib": 12.0})
    assert found["memory"].status == "warning" and "10.0 GiB" in found["memory"].message
    assert "1g.10gb" in found["mig"].message


def test_mig_mode_without_devices_is_an_error() -> None:
    a100 = driver("535_a100_mig")
    (gpu,) = a100.gpus
    bare = dataclasses.replace(a100, gpus=(dataclasses.replace(gpu, mig_devices=()),))
    assert findings(driver=bare, torch=CU126)["mig"].status == "error"


def test_no_estimate_is_said_with_its_reason() -> None:
    found = findings(driver=driver("580_a100"), torch=CU130, estimate={"error": "it is missing"})
    assert found["memory"].status == "skipped"
    assert "not checked" in found["memory"].message and "it is missing" in found["memory"].message


@pytest.mark.parametrize(("free", "status"), [(1, "error"), (10, "warning"), (50, "ok")])
def test_disk(free: float, status: str) -> None:
    assert findings(free_disk_gib=free)["disk"].status == status


def test_missing_environment() -> None:
    found = findings(installed=None, torch={})
    assert found["python"].status == "error" and "make setup" in found["python"].remedy
    assert "pytorch" not in found


def test_pytorch_that_does_not_start() -> None:
    found = findings(torch={"error": "ImportError: libcudart.so.13"})["pytorch"]
    assert found.status == "error" and "libcudart.so.13" in found.message


def test_apple_and_amd() -> None:
    apple = findings(system="darwin", processor="arm64", torch=CPU | {"mps": True})
    assert apple["gpu"].message == "Apple GPU (MPS)"
    assert "Apple" in apple["pytorch"].message
    assert findings(amd=True)["rocm"].status == "warning"
    rocm = CPU | {"hip": "7.2", "torch": "2.13.0+rocm7.2"}
    assert findings(amd=True, torch=rocm)["rocm"].status == "ok"


def test_everything_bad_has_a_remedy() -> None:
    worlds = [
        findings(driver=driver("580_a100"), visible=""),
        findings(driver=driver("470_v100"), torch=CU130 | {"available": False}),
        findings(installed=None, torch={}, amd=True, free_disk_gib=1),
        findings(driver=driver("580_rtx5090_rtx4090"), torch=CU126, estimate={"peak_gib": 99.0}),
    ]
    bad = [f for world in worlds for f in world.values() if f.status in {"error", "warning"}]
    assert len(bad) >= 7
    assert all(finding.remedy for finding in bad)


# ── the command ──

FAKE_TORCH = """
__version__ = "2.13.0+cu130"
class version: cuda, hip = "13.0", None
class cuda:
    is_available = staticmethod(lambda: {available})
class backends:
    class mps: is_available = staticmethod(lambda: False)
class _C:
    _cuda_getArchFlags = staticmethod(lambda: "sm_80 sm_90")
"""


def run_doctor(project: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "scripts/doctor.py", *arguments],
        cwd=project,
        env={"PATH": "/usr/bin:/bin", "HOME": str(project)} | env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def gpu_project(tmp_path: Path) -> tuple[Path, dict[str, str]]:
    """A project whose `.venv` holds a fake torch and estimator, on a machine with two A100."""
    project = make_project(tmp_path / "my project", pins="torch==2.13.0\n")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", project / ".venv"], check=True)
    (site,) = project.glob(".venv/lib/python*/site-packages")
    (site / "torch.py").write_text(FAKE_TORCH.format(available=True))
    executable(project / "scripts" / "estimate.py", "print('{\"peak_gib\": 30.0}')\n")
    install_fake_nvidia_smi(tmp_path / "bin", "580_a100")
    return project, {"PATH": f"{tmp_path / 'bin'}{os.pathsep}/usr/bin{os.pathsep}/bin"}


def test_doctor_reports_as_json_and_in_the_report(gpu_project: tuple[Path, dict[str, str]]) -> None:
    project, env = gpu_project
    done = run_doctor(project, "--json", **env)
    report = json.loads(done.stdout)
    assert done.returncode == 0, done.stdout
    assert report["ok"] is True
    assert set(report["findings"][0]) == {"name", "status", "message", "remedy"}
    memory = [finding for finding in report["findings"] if finding["name"] == "memory"]
    assert len(memory) == 2 and "33.7 needed" in memory[0]["message"]
    (entry,) = json.loads((project / ".ml-template/setup-report.json").read_text("utf-8"))
    assert (entry["name"], entry["status"]) == ("doctor", "ok")


def test_doctor_fails_with_the_reason_first_in_the_report(
    gpu_project: tuple[Path, dict[str, str]],
) -> None:
    project, env = gpu_project
    (site,) = project.glob(".venv/lib/python*/site-packages")
    (site / "torch.py").write_text(FAKE_TORCH.format(available=False))
    done = run_doctor(project, **env)
    assert done.returncode == 1
    assert "ERROR   driver: PyTorch cannot use the GPU" in done.stdout
    (entry,) = json.loads((project / ".ml-template/setup-report.json").read_text("utf-8"))
    assert entry["status"] == "failed" and entry["message"].startswith(
        "errors: 1, warnings: 0; PyTorch"
    )
    assert entry["remedy"]


def test_doctor_without_environment_or_gpu(tmp_path: Path) -> None:
    project = make_project(tmp_path / "project", pins="torch==2.13.0\n")
    done = run_doctor(project)
    assert done.returncode == 1
    assert "no usable .venv" in done.stdout and "Run `make setup`" in done.stdout
    assert "Traceback" not in done.stderr


def test_doctor_looks_at_an_environment_of_ones_own(
    gpu_project: tuple[Path, dict[str, str]], tmp_path: Path
) -> None:
    project, env = gpu_project
    own = (project / ".venv").rename(tmp_path / "own")
    command = [str(own / "bin" / "python"), "scripts/doctor.py", "--json"]

    def found() -> dict[str, Any]:
        done = subprocess.run(command, cwd=project, env=env, capture_output=True, check=False)
        return {each["name"]: each for each in json.loads(done.stdout)["findings"]}

    assert "no usable .venv" in found()["python"]["message"]  # the project is not in it
    (site,) = own.glob("lib/python*/site-packages")
    (site / "pkg-0.dist-info").mkdir()
    (site / "pkg-0.dist-info" / "METADATA").write_text("Name: pkg\nVersion: 0\n", "utf-8")
    assert f"of {own / 'bin' / 'python'}, as there is no" in found()["python"]["message"]
    assert found()["pytorch"]["message"].startswith("PyTorch 2.13.0+cu130")


def test_doctor_survives_a_broken_estimator(gpu_project: tuple[Path, dict[str, str]]) -> None:
    project, env = gpu_project
    executable(project / "scripts" / "estimate.py", "raise SystemExit('no such model')\n")
    done = run_doctor(project, **env)
    assert done.returncode == 0
    assert "not checked against the estimate" in done.stdout and "no such model" in done.stdout
