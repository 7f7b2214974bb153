"""Where projects are made: folders that cannot be written, odd names, other repositories."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import helpers
from machine_scripts import make_project
from package_index import PIN, PackageIndex

pytestmark = pytest.mark.run


# A process that is root and may write only where its rights say so.
WITHOUT_OVERRIDE = ["setpriv", "--bounding-set=-dac_override"]


class Small:
    """A file system of a few megabytes; entered, it is there."""

    def __init__(self, folder: Path, options: str) -> None:
        self.folder, self._options = folder, options
        self._as_root = [] if os.getuid() == 0 else ["sudo", "--non-interactive"]

    def __enter__(self) -> Path:
        self.folder.mkdir()
        options = f"{self._options},mode=700,uid={os.getuid()},gid={os.getgid()}"
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(self.folder)]
        done = run([*self._as_root, *command])
        if done.returncode:
            unable(f"no file system can be mounted: {done.stderr.strip()}")
        return self.folder

    def __exit__(self, *error: object) -> None:
        subprocess.run([*self._as_root, "umount", "--lazy", str(self.folder)], check=True)


def unable(reason: str) -> None:
    """Skip; on GitHub's machines, which can do all of this, fail."""
    (pytest.fail if os.environ.get("GITHUB_ACTIONS") else pytest.skip)(reason)


def run(command: list[str]) -> subprocess.CompletedProcess[str]:
    """Run a program; one that is not there fails too."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        return subprocess.CompletedProcess(command, 127, "", str(error))


def copy(destination: Path, *prefix: str) -> subprocess.CompletedProcess[str]:
    """Run `copier copy` as a person does, behind another program if need be."""
    command = [*prefix, sys.executable, "-m", "copier", "copy", "--trust", "--defaults"]
    return subprocess.run(
        [*command, "--data", "project_name=Ticket router", str(helpers.snapshot()), destination],
        env={**os.environ, "ML_TEMPLATE_HOOKS": "off"},
        capture_output=True,
        text=True,
        check=False,
    )


def assert_refused(done: subprocess.CompletedProcess[str], *words: str) -> None:
    assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr
    for word in words:
        assert word in done.stderr, done.stderr


def test_a_full_disk_is_named_before_anything_is_written(tmp_path: Path) -> None:
    with Small(tmp_path / "small", "size=1m") as folder:
        assert_refused(copy(folder / "project"), "MiB left", "free some")
        assert list(folder.iterdir()) == []


def test_a_read_only_disk_is_named(tmp_path: Path) -> None:
    with Small(tmp_path / "read-only", "size=20m,ro") as folder:
        assert_refused(copy(folder / "project"), "cannot be written", "change its rights")


def test_a_folder_without_the_right_to_write_is_named(tmp_path: Path) -> None:
    prefix = WITHOUT_OVERRIDE if os.getuid() == 0 else []
    if run([*prefix, "true"]).returncode:
        unable("root may write everywhere, and cannot do without that right")
    tmp_path.chmod(0o555)
    try:
        done = copy(tmp_path / "project", *prefix)
        assert_refused(done, "cannot be written", "change its rights")
    finally:
        tmp_path.chmod(0o755)


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "project").write_text("mine", "utf-8")
    assert_refused(copy(tmp_path / "project"), "is no folder", "move it away")
    assert_refused(copy(tmp_path / "project" / "below"), "is no folder", "move it away")
    assert (tmp_path / "project").read_text("utf-8") == "mine"


def test_gits_own_files_are_no_place_for_a_project(tmp_path: Path) -> None:
    helpers.git(tmp_path, "init", "--quiet")
    before = sorted(tmp_path.rglob("*"))
    assert_refused(copy(tmp_path / ".git"), "among git's own files", "another destination")
    assert sorted(tmp_path.rglob("*")) == before


def test_a_disk_that_fills_while_installing_is_named_and_set_up_goes_on(tmp_path: Path) -> None:
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    assert uv
    with Small(tmp_path / "small", "size=700k") as folder, PackageIndex() as index:
        project = make_project(folder / "project", pins=PIN)
        filling = folder / "filling"
        filling.write_bytes(b"x" * (shutil.disk_usage(folder).free - 30_000))
        environment = {
            "PATH": f"{Path(uv).parent}:/usr/bin:/bin",
            "HOME": str(tmp_path),
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_INDEX_URL": index.url,
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        command = [sys.executable, "scripts/setup_env.py"]

        def set_up() -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                command, cwd=project, env=environment, capture_output=True, text=True, check=False
            )

        assert_refused(set_up(), "error: the disk is full", "free some disk space")
        filling.unlink()
        done = set_up()
        assert done.returncode == 0, done.stderr


@pytest.fixture
def other_repository(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "monorepo"
    folder.mkdir()
    (folder / "mine.txt").write_text("mine", "utf-8")
    helpers.commit_all(folder, "mine")
    yield folder
    assert helpers.git(folder, "status", "--porcelain", "mine.txt") == ""


def test_inside_another_repository_only_the_projects_folder_is_new(other_repository: Path) -> None:
    done = copy(other_repository / "services" / "router")
    assert done.returncode == 0, done.stderr
    assert helpers.git(other_repository, "status", "--porcelain").split() == ["??", "services/"]
    project = other_repository / "services" / "router"
    said = subprocess.run(["make", "help"], cwd=project, capture_output=True, text=True, check=True)
    assert "make train" in said.stdout


def test_without_git_a_project_is_made_all_the_same(tmp_path: Path) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "sh").symlink_to("/bin/sh")
    command = [sys.executable, "-m", "copier", "copy", "--trust", "--defaults", "--quiet"]
    done = subprocess.run(
        [*command, str(helpers.snapshot()), str(tmp_path / "project")],
        env={"PATH": str(programs), "HOME": str(tmp_path), "ML_TEMPLATE_HOOKS": "off"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "project" / "Makefile").is_file()
