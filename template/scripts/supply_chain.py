"""What the installed packages are: known holes in them, their licences, a bill of materials.

python scripts/supply_chain.py audit
python scripts/supply_chain.py licences
python scripts/supply_chain.py sbom --output sbom.json
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from machine import environments, pip_config
from machine.commands import mask
from machine.environments import Installed, Project
from machine.install_errors import SetupError

ROOT = Path(__file__).resolve().parent.parent
# run by uv in an environment of their own: they are no part of the project
AUDIT = ("pip-audit==2.10.1", "pip-audit")
LICENCES = ("pip-licenses==5.5.5", "pip-licenses")
SBOM = ("cyclonedx-bom==7.5.0", "cyclonedx-py")

REFUSED = "\0"  # in the place of a bracket that leaves no choice
LONG_NAMES = (
    ("GNU Affero General Public Licen[cs]e", "AGPL"),
    ("GNU (Lesser|Library or Lesser) General Public Licen[cs]e", "LGPL"),
    ("GNU General Public Licen[cs]e", "GPL"),
)


class Said(NamedTuple):
    """A tool's exit code, what it printed, and of what it complained."""

    code: int
    output: str
    errors: str


def main() -> int:
    """Return 0 where nothing was found, 1 where something was or could not be looked up."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("audit", help="known vulnerabilities; what follows is for pip-audit")
    commands.add_parser("licences", help="a table, and whether pyproject.toml refuses any")
    sbom = commands.add_parser("sbom", help="bill of materials, CycloneDX")
    sbom.add_argument("--output", default="sbom.json", metavar="FILE", help="JSON or XML")
    options, more = parser.parse_known_args()
    if more and options.command != "audit":
        parser.error(f"unknown option {more[0]}")
    if any(word.startswith(("-o", "--output")) for word in more):  # one file for two answers
        parser.error("no --output: redirect what is printed")
    try:
        if options.command == "audit":
            audit(more)
        elif options.command == "licences":
            licences()
        else:
            write_sbom(options.output)
    except SetupError as error:
        print(f"error: {error}.\n  {error.remedy}.", file=sys.stderr)
        return 1
    return 0


def audit(more: Sequence[str]) -> None:
    """Ask PyPI, or with `-s osv` OSV, about every pin. Raises SetupError for any hole or doubt."""
    # strict: a package that nobody knows, as behind a mirror, must not pass for a safe one
    options = ("--no-deps", "--disable-pip", "--strict", "--progress-spinner", "off")
    holes, doubts = [], []
    for name in ("requirements.txt", "inference/requirements.txt"):
        if not (ROOT / name).is_file():
            continue
        done = _run(AUDIT, "--requirement", name, *options, *more)
        if done.output.strip():
            print(done.output)
        last = (done.errors.splitlines() or ["no message"])[-1]
        if done.code == 0:
            print(f"{name}: no known vulnerability", file=sys.stderr)
        elif done.output.strip() or re.match(r"Found \d", last):
            holes.append(name)
        else:
            doubts.append(f"{name} ({last[:200]})")
    if doubts:
        doubt = SetupError(
            f"{' and '.join(doubts)} could not be audited",
            "run it where the service that knows them can be reached, or ask the other one: "
            "make audit ARGS='--vulnerability-service osv'",
        )
        if not holes:
            raise doubt
        print(f"error: {doubt}.", file=sys.stderr)
    if holes:
        raise SetupError(
            f"packages in {' and '.join(holes)} have known vulnerabilities",
            "take newer ones: `make lock ARGS=--upgrade`, then `make setup test`",
        )


def licences() -> None:
    """Print the licence of every package. Raises SetupError for those that are refused."""
    done = _run(LICENCES, "--python", _installed().program, "--format", "json", "--with-urls")
    if done.code:
        raise _failed("pip-licenses", done)
    packages: list[dict[str, str]] = json.loads(done.output)
    print("| package | version | licence | home |\n|---|---|---|---|")
    for each in packages:
        row = (each["Name"], each["Version"], each["License"], each["URL"])
        print(f"| {' | '.join(part.replace('|', '/') for part in row)} |")
    policy = _policy()
    accepted = {_normal(name) for name in policy.get("accepted-packages", [])}
    wrong = [
        f"{each['Name']} ({each['License']})"
        for each in packages
        if _normal(each["Name"]) not in accepted and is_refused(each["License"], policy["refused"])
    ]
    if wrong:
        raise SetupError(
            f"pyproject.toml refuses the licence of {', '.join(wrong)}",
            "take another package, or, once somebody has read that licence, name the package in "
            "accepted-packages of [tool.ml-template.licences]",
        )


def _normal(name: str) -> str:
    """A package's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def is_refused(licence: str, refused: Sequence[str]) -> bool:
    """Whether a refused name is in each choice (`A OR B`) of something that holds (`A AND B; C`).

    As in SPDX expressions, brackets come first, then AND, then OR. Where a bracket belongs to a
    name, as in `GNU General Public License v2 (GPLv2)`, both count.
    """
    for long, short in LONG_NAMES:
        licence = re.sub(long, short, licence, flags=re.IGNORECASE)
    names = [re.compile(rf"(?<![A-Za-z]){re.escape(name)}", re.IGNORECASE) for name in refused]
    names.append(re.compile(REFUSED))

    def has_no_choice(text: str) -> bool:
        return any(
            all(any(name.search(choice) for name in names) for choice in re.split(r"\bOR\b", part))
            for part in text.split(";")
        )

    bracket = re.compile(r"\(([^()]*)\)")
    while inner := bracket.search(licence):
        verdict = REFUSED if has_no_choice(inner[1]) else ""
        licence = f"{licence[: inner.start()]} {verdict} {licence[inner.end() :]}"
    return has_no_choice(licence)


def write_sbom(output: str) -> None:
    """Write what is installed in `.venv`, with versions, licences and addresses."""
    kind = "XML" if output.endswith(".xml") else "JSON"
    options = ("--pyproject", "pyproject.toml", "--output-reproducible", "--output-format", kind)
    done = _run(SBOM, "environment", _installed().program, *options, "--output-file", output)
    if done.code:
        raise _failed("cyclonedx-py", done)
    print(f"{output}: CycloneDX, of the packages in .venv")


def _failed(tool: str, said: Said) -> SetupError:
    """Show all that the tool said, and say what usually helps."""
    print(said.errors, file=sys.stderr)
    return SetupError(
        f"{tool} failed, as it says above",
        "make setup, so that `.venv` is whole, then run this command again",
    )


def _policy() -> dict[str, Any]:
    tables = _pyproject()["tool"].get("ml-template", {})
    policy: dict[str, Any] = tables.get("licences", {})
    return {"refused": [], **policy}


def _pyproject() -> dict[str, Any]:
    import tomllib  # 3.11; `machine` has checked the version

    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def _project() -> Project:
    return Project(ROOT, _pyproject()["project"]["requires-python"])


def _installed() -> Installed:
    installed = environments.inspect(_project())
    if installed is None:
        raise SetupError("there is no .venv", "run `make setup` first")
    return installed


def _run(tool: tuple[str, str], *arguments: str | Path) -> Said:
    """Run a tool at its pinned version, fetched from where the project's packages come from.

    The passwords of package indexes are in nothing that it says.
    """
    uv = environments.find_uv(_project(), lambda line: print(line, file=sys.stderr))
    pip = pip_config.parse(pip_config.read(ROOT))
    own = pip_config.for_uv(pip, os.environ, pip_config.uv_file_settings(ROOT, os.environ))
    package, program = tool
    command = [uv, "tool", "run", "--quiet", "--from", package, program, *arguments]
    environment = {**os.environ, **own, "PYTHONPATH": ""}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    return Said(done.returncode, mask(done.stdout), mask(done.stderr).strip())


if __name__ == "__main__":
    sys.exit(main())
