"""A set-up that fails says in one sentence what was wrong, and what to do."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from fake_uv import Machine, report
from machine_scripts import machine, script

pytestmark = pytest.mark.unit

install_errors = machine("install_errors")
environments = machine("environments")


@pytest.mark.parametrize(
    ("output", "message", "remedy"),
    [
        (
            "error: Failed to download\n  ╰─▶ Hash mismatch for\n  `packaging==26.3`",
            "the downloaded packaging==26.3 is not the file that was pinned",
            "do not install it",
        ),
        (
            "  \N{MULTIPLICATION SIGN} No solution found when resolving dependencies:\n"
            "  ╰─▶ Because there is no version of packaging==99.1 and you require packaging==99.1",
            "does not have the pinned packaging==99.1",
            "ask for it there",
        ),
        (
            "ERROR: Could not find a version that satisfies the requirement packaging==99.1 (from)",
            "does not have the pinned packaging==99.1",
            "ask for it there",
        ),
        (
            "No solution found when resolving dependencies:\n  Because a==1 depends on b>=2\n"
            "  and you require b==1, your requirements are unsatisfiable.",
            "the pinned packages do not go together",
            "make lock",
        ),
        (
            "Because nope was not found in the package registry and you require nope==1.0",
            "does not have nope",
            "ask for it",
        ),
        (
            "error: Failed to fetch: `x`\n  cause: error sending request\n  cause: dns error",
            "cannot be reached",
            "check the network",
        ),
        (
            "error: Failed to fetch: `x`\n  Caused by: operation timed out",
            "answers too slowly",
            "UV_HTTP_TIMEOUT",
        ),
        (
            "Failed to fetch\n  Caused by: invalid peer certificate: UnknownIssuer",
            "certificate is not trusted",
            "SSL_CERT_FILE",
        ),
        ("HTTP status client error (401 Unauthorized) for url", "refused access", "password"),
        (
            "error sending request\n  cause: tunnel error: proxy authorization required",
            "the proxy wants a user name",
            "<user>:<password>@",
        ),
        (
            "OSError('Tunnel connection failed: 407 authenticationrequired')",
            "the proxy wants a user name",
            "<user>:<password>@",
        ),
        (
            "Downloading nvidia-cublas (407.4MiB)\n 407 packages\n  cause: operation timed out",
            "answers too slowly",
            "UV_HTTP_TIMEOUT",
        ),
        ("error: No space left on device (os error 28)", "the disk is full", "free some"),
        ("Error: ensurepip is not available.", "cannot make virtual env", "python3-venv"),
        (
            "error: No interpreter found for Python >=3.11",
            "no Python that pyproject.toml allows",
            "install one",
        ),
        ("hm\nerror: odd thing\n  more", "(error: odd thing)", "setup.log"),
        ("", "no message", "setup.log"),
    ],
)
def test_failures_are_one_sentence_with_a_remedy(output: str, message: str, remedy: str) -> None:
    error = install_errors.explain(output, ".ml-template/setup.log")
    assert message in str(error)
    assert remedy in error.remedy
    assert "\n" not in str(error)


def test_a_failure_is_recorded_and_the_installers_words_are_kept(
    box: Machine, project: Path
) -> None:
    stderr = box.run(project, FAKE_UV_FAILS="error: dns error: mirror.example", code=1)
    assert stderr.splitlines()[-2].startswith("error: the package index cannot be reached")
    assert report(project)["status"] == "failed" and report(project)["remedy"]
    assert "dns error: mirror.example" in (project / ".ml-template/setup.log").read_text("utf-8")


@pytest.mark.parametrize("name", ["pyproject.toml", "requirements.txt"])
def test_a_missing_file_is_named(box: Machine, project: Path, name: str) -> None:
    (project / name).unlink()
    assert f"error: {name} is missing" in box.run(project, code=1)


def test_an_unknown_tool_is_named(box: Machine, project: Path) -> None:
    text = (project / "pyproject.toml").read_text("utf-8")
    (project / "pyproject.toml").write_text(text.replace('"uv"', '"poetry"'), "utf-8")
    assert "write one of uv, venv, conda" in box.run(project, code=1)


@pytest.mark.parametrize(
    ("version", "fits"),
    [("3.10.9", False), ("3.11.0", True), ("3.13.2", True), ("3.14.0", False)],
)
def test_python_range(version: str, fits: bool) -> None:
    assert environments.accepts(">=3.11,<3.14", version) is fits


def test_python_version_file_chooses_the_python(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    project = environments.Project(tmp_path, ">=3.11,<3.14")
    monkeypatch.delenv("UV_PYTHON", raising=False)
    (tmp_path / ".python-version").write_text("3.12.4\n")
    assert environments._pinned_python(project) == "3.12"
    monkeypatch.setenv("UV_PYTHON", "cpython-3.11")
    assert environments._pinned_python(project) == "3.11"


def test_help_is_quick_and_needs_nothing(project: Path) -> None:
    out = subprocess.run(
        [sys.executable, "scripts/setup_env.py", "--help"],
        cwd=project,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "--force" in out.stdout
    assert script("setup_env").TOOLS == ("uv", "venv", "conda")
