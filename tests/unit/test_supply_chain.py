"""Audit, licences and bill of materials: what is refused, and that silence is no pass."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from machine_scripts import executable, make_project, script

pytestmark = pytest.mark.unit
supply_chain = script("supply_chain")

REFUSED = ["AGPL", "GPL", "UNKNOWN"]
PASSWORD = "KanarieIndex-lKjHgFd"  # pragma: allowlist secret
FAKE_UV = f"""#!{sys.executable}
import os, sys
if sys.argv[1:] == ["--version"]:
    print("uv 0.13.9")
    sys.exit()
if "--output-file" in sys.argv:
    with open(sys.argv[-1], "w") as file:
        file.write(" ".join(sys.argv[1:]))
print(os.environ["OUT"], end="")
print(os.environ["ERR"], end="", file=sys.stderr)
sys.exit(int(os.environ["CODE"]))
"""


@pytest.mark.parametrize(
    ("licence", "expected"),
    [
        *(("GPL-3.0-only", True), ("GPLv2", True), ("AGPL-3.0", True), ("UNKNOWN", True)),
        *(("GNU General Public License v2 (GPLv2)", True), ("MIT AND GPL-2.0-only", True)),
        *(("GNU Affero General Public License v3", True), ("MIT License; GPLv3", True)),
        *(("LGPL-2.1-or-later", False), ("Apache-2.0 OR GPL-2.0-only", False), ("MIT", False)),
        ("GNU Lesser General Public License v3 (LGPLv3)", False),
        *(("GPL-3.0-only AND (MIT OR BSD-3-Clause)", True), ("(MIT OR GPL-2.0) AND MIT", False)),
        *(("MIT OR (ISC AND GPL-2.0-only)", False), ("MIT OR GPL-2.0-only AND ISC", False)),
        *(("(GPL-2.0-only OR AGPL-3.0) AND MIT", True), ("MIT; GPLv2 OR ISC", False)),
        *(("((GPL-2.0-only))", True), ("MIT (", False)),
        ("GNU Library or Lesser General Public License (LGPL)", False),
        *(("GNU GENERAL PUBLIC LICENSE", True), ("GNU General Public Licence v3", True)),
        ("GNU LESSER GENERAL PUBLIC LICENSE", False),
    ],
)
def test_licences_are_refused_by_name(licence: str, expected: bool) -> None:
    assert supply_chain.is_refused(licence, REFUSED) == expected


def run(project: Path, *words: str, out: str = "", err: str = "", code: int = 0) -> tuple[int, str]:
    """Run the script with a uv that prints these words and ends with this code."""
    executable(project.parent / "bin/uv", FAKE_UV)
    path = f"{project.parent / 'bin'}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "OUT": out, "ERR": err, "CODE": str(code)}
    done = subprocess.run(
        [sys.executable, "scripts/supply_chain.py", *words],
        cwd=project,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout + done.stderr


def test_an_audit_says_clean_only_when_it_was_one(tmp_path: Path) -> None:
    project = make_project(tmp_path / "project")
    assert run(project, "audit") == (0, "requirements.txt: no known vulnerability\n")
    code, said = run(project, "audit", out="packaging 26.3 PYSEC-1 27.0\n", err="Found 1", code=1)
    assert code == 1 and "PYSEC-1" in said and "make lock ARGS=--upgrade" in said
    unknown = "WARNING: x\nERROR: packaging: Dependency not found on PyPI\n"
    code, said = run(project, "audit", err=unknown, code=1)
    assert code == 1 and "requirements.txt (ERROR: packaging: Dep" in said
    assert "could not be audited" in said
    code, said = run(project, "audit", "-f", "json", out="{}\n")
    assert code == 0 and said.startswith("{}\n")
    code, said = run(project, "audit", "--output", "x.json")
    assert code == 2 and "no --output: redirect" in said
    (project / "inference").mkdir()
    (project / "inference/requirements.txt").touch()
    code, said = run(project, "audit", err="Found 1 known vulnerability in 1 package", code=1)
    assert code == 1 and "requirements.txt and inference/requirements.txt have known" in said


def test_a_refused_licence_is_named_until_somebody_accepts_it(tmp_path: Path) -> None:
    project = make_project(tmp_path / "project")
    names = {"Version": "1", "URL": "UNKNOWN"}
    packages = [{"Name": "A", "License": "MIT"}, {"Name": "B_c", "License": "GPLv3"}]
    listed = json.dumps([{**names, **each} for each in packages])
    policy = '[tool.ml-template.licences]\nrefused = ["GPL"]\n'
    file = project / "pyproject.toml"
    file.write_text(file.read_text("utf-8") + policy, "utf-8")
    assert run(project, "licences")[0] == 1  # nothing is installed
    make_environment(project)
    code, said = run(project, "licences", out=listed)
    assert code == 1 and "refuses the licence of B_c (GPLv3)" in said and "| A | 1 | MIT |" in said
    file.write_text(file.read_text("utf-8") + 'accepted-packages = ["b-C"]\n', "utf-8")
    assert run(project, "licences", out=listed)[0] == 0


def make_environment(project: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", project / ".venv"], check=True)


@pytest.mark.parametrize(("name", "kind"), [("sbom.json", "JSON"), ("parts.xml", "XML")])
def test_the_bill_of_materials_is_of_what_is_installed(
    tmp_path: Path, name: str, kind: str
) -> None:
    project = make_project(tmp_path / "project")
    words = ("sbom", "--output", name) if kind == "XML" else ("sbom",)
    assert "there is no .venv" in run(project, *words)[1] and not (project / name).exists()
    make_environment(project)
    assert run(project, *words) == (0, f"{name}: CycloneDX, of the packages in .venv\n")
    asked = (project / name).read_text("utf-8")
    assert f"{supply_chain.SBOM[0]} cyclonedx-py environment {project / '.venv'}" in asked
    assert f"--output-format {kind}" in asked
    code, said = run(project, *words, err="no such Python", code=2)
    assert code == 1 and said.startswith("no such Python\nerror: cyclonedx-py failed, as it says")


@pytest.mark.parametrize("command", ["audit", "licences", "sbom"])
def test_no_password_of_an_index_is_repeated_also_where_it_is_cut(
    tmp_path: Path, command: str
) -> None:
    project = make_project(tmp_path / "project")
    make_environment(project)
    address = f"https://me:{PASSWORD}@host/simple"
    for told in (f"no {address}", f"{'.' * 170} {address}", f"{address} {'.' * 170}"):
        code, said = run(project, command, err=told, code=1)
        assert code == 1 and ("https://***@host/simple" in said or len(told) > 200)
        assert not any(PASSWORD[i : i + 6] in said for i in range(len(PASSWORD) - 5)), said
    said = run(project, command, out=f"a hole at {address}", code=1)[1]
    assert PASSWORD not in said
