"""A password in the address of a package index, or of the template, is used and kept nowhere."""

from __future__ import annotations

import base64
import functools
import os
import subprocess
import sys
import zipfile
from contextlib import AbstractContextManager
from http.server import SimpleHTTPRequestHandler
from pathlib import Path
from typing import Any

import copier
import plumbum
import pytest
import yaml

import canaries
import helpers
from local_http import listening
from projects import tool_environment

pytestmark = pytest.mark.run

SECRET = "KanarieInhoud-pLmOkNiJb"  # pragma: allowlist secret
ALLOWED = f"Basic {base64.b64encode(f'me:{SECRET}'.encode()).decode()}"


class Handler(SimpleHTTPRequestHandler):
    """Files for whoever shows the password."""

    def do_GET(self) -> None:
        if self.headers.get("Authorization") == ALLOWED:
            super().do_GET()
        else:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="here"')
            self.send_header("Content-Length", "0")
            self.end_headers()

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


def guarded(folder: Path) -> AbstractContextManager[str]:
    """Serve a folder, and return its host and port."""
    return listening(functools.partial(Handler, directory=str(folder)))


def put_package(index: Path) -> None:
    """A simple index with one package."""
    folder = index / "simple/kanarie"
    folder.mkdir(parents=True)
    info = "kanarie-1.0.dist-info"
    with zipfile.ZipFile(folder / "kanarie-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("kanarie.py", "")
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: kanarie\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "kanarie.py,,\n")
    link = '<a href="kanarie-1.0-py3-none-any.whl">kanarie-1.0-py3-none-any.whl</a>'
    (folder / "index.html").write_text(f"<!DOCTYPE html><html><body>{link}</body></html>")


@pytest.mark.parametrize(
    ("tool", "source"),
    [
        *(("uv", "pip.conf"), ("uv", "UV_DEFAULT_INDEX"), ("uv", "a wrong password")),
        ("venv", "pip.conf"),
    ],
)
def test_set_up_leaves_no_password_of_the_index(tool: str, source: str, tmp_path: Path) -> None:
    project = helpers.copy_project(tmp_path / "project", environment=tool)
    (project / "requirements.txt").write_text("kanarie==1.0\n", "utf-8")
    put_package(tmp_path / "index")
    ours = {key: value for key, value in os.environ.items() if not key.startswith(("PIP_", "UV_"))}
    environment = {**ours, **tool_environment(), "PIP_CONFIG_FILE": os.devnull}
    environment["UV_CACHE_DIR"] = str(tmp_path / "cache")
    with guarded(tmp_path / "index") as host:
        password = SECRET if source != "a wrong password" else f"{SECRET}x"
        address = f"http://me:{password}@{host}/simple"
        if source == "UV_DEFAULT_INDEX":
            environment[source] = address
        else:
            (tmp_path / "pip.conf").write_text(f"[global]\nindex-url = {address}\n", "utf-8")
            environment["PIP_CONFIG_FILE"] = str(tmp_path / "pip.conf")
        done = run(project, environment, "setup_env")
    said = done.stdout + done.stderr
    assert (done.returncode == 0) == (source != "a wrong password"), said
    assert SECRET not in said
    # the log holds what the installer said
    assert "kanarie" in (project / ".ml-template/setup.log").read_text("utf-8")
    assert canaries.search([project], {"password": SECRET, "basic": ALLOWED.split()[1]}) == []


def run(
    project: Path, environment: dict[str, str], script: str, *arguments: str
) -> subprocess.CompletedProcess[str]:
    """Run one of the project's scripts that need no packages."""
    command = [sys.executable, f"scripts/{script}.py", *arguments]
    return subprocess.run(
        command, cwd=project, env=environment, capture_output=True, text=True, timeout=300
    )


@pytest.mark.parametrize("command", ["audit", "licences", "sbom"])
def test_what_looks_at_packages_repeats_no_password(command: str, tmp_path: Path) -> None:
    project = helpers.copy_project(tmp_path / "project")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", project / ".venv"], check=True)
    ours = {key: value for key, value in os.environ.items() if not key.startswith(("PIP_", "UV_"))}
    environment = {**ours, **tool_environment(), "UV_CACHE_DIR": str(tmp_path / "cache")}
    environment["PIP_CONFIG_FILE"] = str(tmp_path / "pip.conf")
    put_package(tmp_path / "index")
    with guarded(tmp_path / "index") as host:
        for password in (SECRET, f"{SECRET}x"):  # the tool is not there; nor may it be asked for
            address = f"http://me:{password}@{host}/simple"
            (tmp_path / "pip.conf").write_text(f"[global]\nindex-url = {address}\n", "utf-8")
            done = run(project, environment, "supply_chain", command)
            said = done.stdout + done.stderr
            assert done.returncode == 1 and "error: " in said and "Traceback" not in said
            assert SECRET not in said
    assert canaries.search([project], {"password": SECRET, "basic": ALLOWED.split()[1]}) == []


def test_a_token_in_the_templates_address_is_not_in_the_answers(tmp_path: Path) -> None:
    bare = tmp_path / "served" / "ml-template.git"
    template = helpers.template_repository(tmp_path / "template")
    bare.parent.mkdir()
    helpers.git(tmp_path, "clone", "--quiet", "--bare", str(template), str(bare))
    helpers.git(bare, "update-server-info")
    project = tmp_path / "project"
    with guarded(bare.parent) as host, plumbum.local.env(GIT_TERMINAL_PROMPT="0"):
        address = f"http://{host}/ml-template.git"
        with_token = address.replace("//", f"//me:{SECRET}@")
        with helpers.hook_environment("off"):
            copier.run_copy(
                with_token, project, data=helpers.ANSWERS, defaults=True, unsafe=True, quiet=True
            )
        assert kept(project)["_src_path"] == address
        assert canaries.search([project], {"token": SECRET}) == []

        helpers.commit_all(project, "all")
        # git has the token, as from a credential helper
        rule = {"KEY_0": f"url.{with_token}.insteadOf", "VALUE_0": address, "COUNT": "1"}
        with plumbum.local.env(**{f"GIT_CONFIG_{name}": value for name, value in rule.items()}):
            helpers.update_project(project, task="text_classification")
        assert kept(project)["task"] == "text_classification"
        assert kept(project)["_src_path"] == address


def kept(project: Path) -> dict[str, Any]:
    answers = yaml.safe_load((project / ".copier-answers.yml").read_text("utf-8"))
    assert isinstance(answers, dict)
    return answers
