"""Every fault of the table, made for real: what failed and what to do is said; mended, it works.

A package index on this machine misbehaves, and real uv and pip install from it. After the fault is
gone the same command must succeed: that is tried with the first of the tools that have the fault.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from environment_faults import FAULTS, Fault
from machine_scripts import make_project
from package_index import PIN, PackageIndex

pytestmark = pytest.mark.run
CASES = [(fault, tool) for fault in FAULTS for tool in fault.tools]


@pytest.fixture(scope="module")
def with_pip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with pip, to be copied: making one takes seconds."""
    folder = tmp_path_factory.mktemp("with-pip") / ".venv"
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    return folder


class Box:
    """A machine with real uv and pip, an empty home, and nothing but one package index."""

    def __init__(self, folder: Path, index: PackageIndex) -> None:
        self.folder, self.index = folder, index
        programs = folder / "bin"
        programs.mkdir()
        uv = shutil.which(
            "uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        )
        assert uv, "uv is one of this repository's tools"
        (programs / "uv").symlink_to(uv)
        (folder / "pip.conf").write_text(
            "password = pa55word\n", "utf-8"
        )  # pragma: allowlist secret
        self.env = {
            "PATH": f"{programs}{os.pathsep}/usr/bin{os.pathsep}/bin",
            "HOME": str(folder / "home"),
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_INDEX_URL": index.url,
            "PIP_RETRIES": "1",
            "PIP_DEFAULT_TIMEOUT": "1",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "UV_HTTP_RETRIES": "0",
            "UV_PYTHON_DOWNLOADS": "never",
            "UV_CACHE_DIR": str(folder / "cache"),
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    def set_up(self, project: Path, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
        """Run the project's own command."""
        places = {"index": self.index.url, "proxy": self.index.proxy, "tmp": str(self.folder)}
        given = {key: value.format(**places) for key, value in env.items()}
        return subprocess.run(
            [sys.executable, "scripts/setup_env.py"],
            cwd=project,
            env=self.env | given,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    with PackageIndex() as index:
        yield Box(tmp_path, index)


def test_the_table_is_as_wide_as_it_claims() -> None:
    names = [fault.name for fault in FAULTS]
    assert len(names) == len(set(names)) >= 30
    print(f"{len(names)} faults, {len(CASES)} with every tool")


@pytest.mark.parametrize(("fault", "tool"), CASES, ids=[f"{f.name} [{tool}]" for f, tool in CASES])
def test_a_fault_is_named_with_its_remedy_and_can_be_mended(
    box: Box, with_pip: Path, tmp_path: Path, fault: Fault, tool: str
) -> None:
    project = make_project(tmp_path / "my project", pins=fault.pins, tool=tool)
    if tool == "venv":
        shutil.copytree(with_pip, project / ".venv", symlinks=True)
    fault.harm(project)
    box.index.fault = fault.index

    failed = box.set_up(project, fault.env)
    assert failed.returncode == 1, failed.stdout + failed.stderr
    assert "Traceback" not in failed.stderr, failed.stderr
    *_, sentence, remedy = failed.stderr.splitlines()
    assert sentence.startswith("error: ") and fault.says in sentence, failed.stderr
    assert fault.remedy in remedy, failed.stderr
    assert "pa55word" not in failed.stdout + failed.stderr
    report = project / ".ml-template" / "setup-report.json"
    if report.is_file():  # there is none where its folder is the fault
        (entry,) = json.loads(report.read_text("utf-8"))
        assert (entry["status"], f"error: {entry['message']}.") == ("failed", sentence)
        assert fault.remedy in entry["remedy"]

    if tool != fault.tools[0]:  # once for each fault: installing again takes seconds
        return
    box.index.fault = ""
    (project / "requirements.txt").write_text(PIN, "utf-8")
    fault.heal(project)
    mended = box.set_up(project, {"PIP_NO_CACHE_DIR": "1"})  # there a damaged download would stay
    assert mended.returncode == 0, mended.stderr
    code = [str(project / ".venv/bin/python"), "-c", "import tinypackage, pkg"]
    subprocess.run(code, check=True)


@pytest.mark.parametrize("tool", ["uv", "venv"])
def test_a_yanked_pin_is_installed_and_mentioned(
    box: Box, with_pip: Path, tmp_path: Path, tool: str
) -> None:
    project = make_project(tmp_path / "project", pins=PIN, tool=tool)
    if tool == "venv":
        shutil.copytree(with_pip, project / ".venv", symlinks=True)
    box.index.fault = "yanked"
    done = box.set_up(project, {})
    assert done.returncode == 0, done.stderr
    assert "withdrawn by its authors (yanked)" in done.stderr
    assert "make lock ARGS=--upgrade" in done.stderr


def test_an_old_python_is_refused_in_a_sentence(tmp_path: Path) -> None:
    project = make_project(tmp_path / "project")
    code = (
        "import runpy, sys; sys.version_info = (3, 9, 1, 'final', 0); sys.argv = ['setup_env.py']; "
        "sys.path.insert(0, 'scripts'); runpy.run_path('scripts/setup_env.py', run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=project, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "needs Python 3.11 or newer" in done.stderr
    assert "make SYSTEM_PYTHON=python3.12 setup" in done.stderr
