"""Setting up `.venv`: pip's configuration for uv, the stamp, interruptions, clear failures."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from machine_scripts import executable, machine, make_project, script

pytestmark = pytest.mark.unit
pip_config = machine("pip_config")
install_errors = machine("install_errors")
commands = machine("commands")
environments = machine("environments")

# Acts as uv: notes its arguments and settings, makes real environments, installs nothing.
FAKE_UV = f"""#!{sys.executable}
import json, os, subprocess, sys, time
args = sys.argv[1:]
if args == ["--version"]:
    print("uv 0.13.9")
    sys.exit()
seen = {{k: v for k, v in os.environ.items() if k.startswith(("UV_", "SSL_", "HTTPS_"))}}
with open(os.environ["FAKE_UV_LOG"], "a") as log:
    log.write(json.dumps([args, seen]) + "\\n")
if args[0] == "venv":
    venv = [sys.executable, "-m", "venv", "--without-pip", args[-1]]
    sys.exit(subprocess.run(venv).returncode)
if "--dry-run" in args:
    print(os.environ.get("FAKE_UV_DRY_RUN", "Would install 1 package\\n + torch==2.13.0"))
elif os.environ.get("FAKE_UV_HANGS"):
    open(os.environ["FAKE_UV_HANGS"], "w").close()
    time.sleep(60)
elif os.environ.get("FAKE_UV_FAILS"):
    print(os.environ["FAKE_UV_FAILS"], file=sys.stderr)
    sys.exit(2)
else:
    print("Installed 1 package in 1ms")
"""


class Machine:
    """A machine with a fake uv and no configuration of pip or uv; runs setup_env.py on it."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "uv.log"
        self.env = {
            "PATH": f"{folder / 'bin'}{os.pathsep}/usr/bin{os.pathsep}/bin",
            "HOME": str(folder / "home"),
            "PIP_CONFIG_FILE": os.devnull,
            "FAKE_UV_LOG": str(self.log),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        executable(folder / "bin" / "uv", FAKE_UV)

    def start(self, project: Path, *arguments: str, **env: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "scripts/setup_env.py", *arguments],
            cwd=project,
            env=self.env | env,
            stderr=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # as a terminal does: Ctrl-C reaches all of them
        )

    def run(self, project: Path, *arguments: str, code: int = 0, **env: str) -> str:
        process = self.start(project, *arguments, **env)
        _, stderr = process.communicate(timeout=60)
        assert process.returncode == code, stderr
        assert "Traceback" not in stderr
        return stderr

    def calls(self, verb: str = "pip") -> list[tuple[list[str], dict[str, str]]]:
        """What uv was asked; dry runs apart."""
        lines = self.log.read_text("utf-8").splitlines() if self.log.exists() else []
        found = [json.loads(line) for line in lines]
        return [(args, env) for args, env in found if args[0] == verb and "--dry-run" not in args]


@pytest.fixture
def box(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return make_project(tmp_path / "Prøject with spaces 模型")


def report(project: Path) -> dict[str, Any]:
    entries = json.loads((project / ".ml-template/setup-report.json").read_text("utf-8"))
    found: list[dict[str, Any]] = [entry for entry in entries if entry["name"] == "setup"]
    return found[0]


def stamp(project: Path) -> Path:
    return project / ".venv" / ".ml-template-requirements"


TORCH = "torch==2.13.0\n"


# ── pip's configuration ──


def test_pip_listing_is_read_with_pips_precedence() -> None:
    listing = """
Python 3.11.7
global.index-url='https://mirror.example/simple'
global.timeout='15'
install.timeout='60'
global.find-links='\\n/a\\n/b'
:env:.index-url='https://other.example/simple'
:env:.default-timeout='180'
freeze.timeout='10'
"""
    assert pip_config.parse(listing) == {
        "index-url": "https://other.example/simple",
        "timeout": "60",
        "find-links": "\n/a\n/b",
    }


def test_real_pip_says_what_its_environment_sets(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "https://one.example/simple https://two.example")
    (tmp_path / "pip.conf").write_text("[global]\nproxy = http://proxy.example:3128\n")
    found = pip_config.parse(pip_config.read(tmp_path))
    assert found["proxy"] == "http://proxy.example:3128"
    assert found["extra-index-url"] == "https://one.example/simple https://two.example"


def test_pips_files_are_read_where_no_python_has_pip(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("PIP_FIND_LINKS", "/wheels")
    (tmp_path / "pip").mkdir()
    (tmp_path / "pip/pip.conf").write_text("[global]\nindex-url = https://m.example/100%25\n")
    found = pip_config.parse(pip_config.read(tmp_path, pythons=["no-such-python"]))
    assert found["find-links"] == "/wheels"
    assert found["index-url"] == "https://m.example/100%25"


def test_every_setting_reaches_uv() -> None:
    pip = {
        "index-url": "https://a.example",
        "find-links": "\n/a\nhttps://b.example/x,y",
        "cert": "/ca.pem",
        "client-cert": "/me.pem",
        "proxy": "proxy.example:3128",
        "trusted-host": "a.example\nb.example",
        "timeout": "90.0",
        "keyring-provider": "import",
        "no-index": "true",
    }
    assert pip_config.for_uv(pip, {}) == {
        "UV_DEFAULT_INDEX": "https://a.example",
        "UV_FIND_LINKS": "/a,https://b.example/x%2Cy",
        "SSL_CERT_FILE": "/ca.pem",
        "SSL_CLIENT_CERT": "/me.pem",
        "HTTPS_PROXY": "http://proxy.example:3128",
        "HTTP_PROXY": "http://proxy.example:3128",
        "UV_INSECURE_HOST": "a.example b.example",
        "UV_HTTP_TIMEOUT": "90",
        "UV_KEYRING_PROVIDER": "subprocess",
        "UV_NO_INDEX": "true",
    }


def test_false_and_nonsense_settings_are_left_out() -> None:
    assert pip_config.for_uv({"no-index": "false", "timeout": "soon"}, {}) == {}


def test_several_indexes_are_searched_as_pip_searches_them() -> None:
    added = pip_config.for_uv({"extra-index-url": "https://a.example\nhttps://b.example"}, {})
    assert added == {
        "UV_INDEX": "https://a.example https://b.example",
        "UV_INDEX_STRATEGY": "unsafe-best-match",
    }
    assert "UV_INDEX_STRATEGY" not in pip_config.for_uv({"index-url": "https://a.example"}, {})


@pytest.mark.parametrize(
    ("env", "files"),
    [
        ({"UV_DEFAULT_INDEX": "https://mine.example"}, set()),
        ({"UV_INDEX_URL": "https://mine.example"}, set()),
        ({}, {"index-url"}),
        ({}, {"default-index"}),
    ],
)
def test_what_was_set_for_uv_wins(env: dict[str, str], files: set[str]) -> None:
    assert pip_config.for_uv({"index-url": "https://a.example"}, env, files) == {}


def test_uvs_own_files_are_noticed(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(
        '[[tool.uv.index]]\nurl = "https://a.example"\ndefault = true\n'
        '[tool.uv.pip]\ntorch-backend = "cu126"\n'
    )
    home = {"XDG_CONFIG_HOME": str(tmp_path / "config")}
    (tmp_path / "config/uv").mkdir(parents=True)
    (tmp_path / "config/uv/uv.toml").write_text('find-links = ["/wheels"]\n')
    found = pip_config.uv_file_settings(tmp_path, home)
    assert {"index", "default-index", "torch-backend", "find-links"} <= found
    assert pip_config.uv_file_settings(tmp_path, home | {"UV_NO_CONFIG": "1"}) == set()


def test_pips_mirror_reaches_uv_and_its_password_reaches_no_log(
    box: Machine, project: Path
) -> None:
    secret = "https://ada:s3cr3t@mirror.example/simple"
    stderr = box.run(
        project, PIP_INDEX_URL=secret, FAKE_UV_FAILS=f"error: no such {secret}", code=1
    )
    (_, env) = box.calls()[0]
    assert env["UV_DEFAULT_INDEX"] == secret
    written = "".join(path.read_text("utf-8") for path in (project / ".ml-template").glob("*.*"))
    assert "s3cr3t" not in stderr + written
    assert "https://***@mirror.example/simple" in written


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("at https://u:p@h.example/x and", "at https://***@h.example/x and"),
        ("https://token@h.example", "https://***@h.example"),
        ("https://u:p@w@h.example/a", "https://***@h.example/a"),
        ("'http://u:p@h', me@example.org", "'http://***@h', me@example.org"),
        ("https://h.example/a@b", "https://h.example/a@b"),
    ],
)
def test_credentials_are_masked(text: str, masked: str) -> None:
    assert commands.mask(text) == masked


# ── which PyTorch ──


def backend(box: Machine) -> str | None:
    (args, _) = box.calls()[-1]
    return args[args.index("--torch-backend") + 1] if "--torch-backend" in args else None


def test_cpu_build_without_gpu_and_mirror(box: Machine, project: Path) -> None:
    (project / "requirements.txt").write_text(TORCH)
    box.run(project)
    assert backend(box) == "cpu"


def test_no_backend_for_a_project_without_pytorch(box: Machine, project: Path) -> None:
    box.run(project)
    assert backend(box) is None


def test_uvs_own_setting_decides_first(box: Machine, project: Path) -> None:
    (project / "requirements.txt").write_text(TORCH)
    box.run(project, UV_TORCH_BACKEND="cu126")
    assert backend(box) is None
    assert box.calls()[0][1]["UV_TORCH_BACKEND"] == "cu126"


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ("Would install 1 package\n + torch==2.13.0+cpu", None),  # the mirror holds a build
        ("Would install 1 package\n + torch==2.13.0", "cpu"),  # it only adds other packages
    ],
)
def test_sources_beside_the_index_decide_if_they_hold_a_build(
    box: Machine, project: Path, found: str, expected: Any
) -> None:
    (project / "requirements.txt").write_text(TORCH)
    box.run(project, PIP_FIND_LINKS="/wheels", FAKE_UV_DRY_RUN=found)
    assert backend(box) == expected


def test_a_mirror_in_place_of_the_index_decides(box: Machine, project: Path) -> None:
    (project / "requirements.txt").write_text(TORCH)
    stderr = box.run(project, PIP_INDEX_URL="https://mirror.example/simple")
    assert backend(box) is None
    assert "your own package sources decide" in stderr


def test_closed_pytorch_index_is_named_with_the_way_out(box: Machine, project: Path) -> None:
    (project / "requirements.txt").write_text(TORCH)
    stderr = box.run(project, FAKE_UV_FAILS="error: Failed to fetch\n cause: dns error", code=1)
    assert "the package index cannot be reached" in stderr
    assert "PyTorch's own index" in stderr and "find-links" in stderr


# ── going on, and doing nothing ──


def test_a_second_run_does_nothing(box: Machine, project: Path) -> None:
    box.run(project)
    asked = len(box.calls())
    assert "nothing to do" in box.run(project)
    assert len(box.calls()) == asked
    assert report(project)["status"] == "ok"


def test_changed_pins_are_installed_into_the_same_environment(box: Machine, project: Path) -> None:
    box.run(project)
    (project / "requirements.txt").write_text("packaging==25.0\n")
    mine = project / ".venv" / "mine"
    mine.touch()
    box.run(project)
    assert len(box.calls()) == 2
    assert mine.exists()


def test_force_makes_the_environment_anew(box: Machine, project: Path) -> None:
    box.run(project)
    mine = project / ".venv" / "mine"
    mine.touch()
    box.run(project, "--force")
    assert not mine.exists()


def test_another_tool_makes_the_environment_anew(box: Machine, project: Path) -> None:
    box.run(project)
    pyproject = project / "pyproject.toml"
    pyproject.write_text(pyproject.read_text("utf-8").replace('"uv"', '"conda"'), "utf-8")
    stderr = box.run(project, code=1)
    assert "conda was chosen for this project and is not installed" in stderr
    assert 'environment = "uv"' in report(project)["remedy"]


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_installation_is_made_anew(
    box: Machine, project: Path, tmp_path: Path, how: signal.Signals
) -> None:
    started = tmp_path / "installing"
    process = box.start(project, FAKE_UV_HANGS=str(started))
    deadline = time.monotonic() + 30
    while not started.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    half_made = project / ".venv" / "half"
    half_made.touch()
    os.killpg(process.pid, how)
    _, stderr = process.communicate(timeout=30)
    assert process.returncode != 0
    assert not stamp(project).exists()
    if how == signal.SIGINT:
        assert "Interrupted" in stderr and "Traceback" not in stderr
        assert report(project)["message"] == "interrupted"
    assert "interrupted; making .venv anew" in box.run(project)
    assert stamp(project).exists() and not half_made.exists()
    assert report(project)["status"] == "ok"


def test_an_environment_half_made_is_made_again(box: Machine, project: Path) -> None:
    (project / ".venv" / "bin").mkdir(parents=True)
    (project / ".ml-template").mkdir()
    (project / ".ml-template" / "setup.running").touch()
    box.run(project)
    assert stamp(project).exists()


def test_a_failed_update_leaves_the_working_environment(box: Machine, project: Path) -> None:
    box.run(project)
    (project / "requirements.txt").write_text("packaging==25.0\n")
    mine = project / ".venv" / "mine"
    mine.touch()
    box.run(project, FAKE_UV_FAILS="error: dns error", code=1)
    assert "anew" not in box.run(project)
    assert mine.exists()


def test_the_users_own_environment_is_kept(box: Machine, project: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", project / ".venv"], check=True)
    mine = project / ".venv" / "mine"
    mine.touch()
    box.run(project)
    assert mine.exists() and box.calls("venv") == []


def test_the_package_is_importable_even_after_the_project_moved(
    box: Machine, project: Path, tmp_path: Path
) -> None:
    box.run(project)
    moved = project.rename(tmp_path / "moved elsewhere")
    code = "import pkg; print(pkg.NAME, pkg.__file__)"
    out = subprocess.run(
        [moved / ".venv/bin/python", "-c", code], capture_output=True, text=True, check=True
    )
    assert out.stdout.startswith("pkg ") and "moved elsewhere" in out.stdout


# ── failures ──


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
        ("error: No space left on device (os error 28)", "the disk is full", "free some"),
        ("Error: ensurepip is not available.", "cannot make virtual env", "python3-venv"),
        ("error: No interpreter found for Python >=3.11", "no Python from 3.11", "install one"),
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
