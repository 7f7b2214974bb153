"""Workflows: projects have the same bytes as we, and none may do more than it needs."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import helpers
import workflow
from projects import Rendered

pytestmark = pytest.mark.render

FOLDER = helpers.ROOT / ".github/workflows"
FILES = sorted(FOLDER.glob("*.yml"))
FORM = workflow.read(FOLDER / "bootstrap.yml")["on"]["workflow_dispatch"]["inputs"]


def test_a_projects_workflows_are_byte_for_byte_ours(project: Rendered) -> None:
    """A workflow's own token may delete workflows, and neither add nor change one."""
    theirs = sorted((project.root / ".github").rglob("*"))
    files = {path.relative_to(project.root): path.read_bytes() for path in theirs if path.is_file()}
    assert files == {path: (helpers.ROOT / path).read_bytes() for path in files}
    names = [path.as_posix() for path in files]
    assert names == ([".github/workflows/ci.yml"] if project.answers["ci"] == "github" else [])


def test_what_the_workflow_calls_is_in_both_makefiles(project: Rendered) -> None:
    steps = workflow.read(FOLDER / "ci.yml")["jobs"]["check"]["steps"]
    assert [step["run"] for step in steps if "run" in step] == ["make ci"]
    assert re.search("^ci:", (helpers.ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    makefile = (project.root / "Makefile").read_text("utf-8")
    if project.answers["ci"] == "none":
        assert "ci:" not in makefile
        return
    shown = subprocess.run(
        ["make", "--no-print-directory", "--dry-run", "ci"],
        cwd=project.root,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    done = [name for name in ("setup_env", "ruff", "pytest", "smoke_test") if name in shown]
    assert done == ["setup_env", "ruff", "pytest", "smoke_test"]
    assert shown.splitlines()[-1].endswith("run detect-secrets --all-files")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_actions_are_pinned_and_permissions_stated(path: Path) -> None:
    text = path.read_text("utf-8")
    for name, rest in re.findall(r"uses: *(\S+)(.*)", text):
        assert re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", name) and re.match(r" # v\d", rest), name
    content = workflow.read(path)
    assert content["permissions"] in ({}, {"contents": "read"})
    for job in content["jobs"].values():
        assert job["timeout-minutes"] <= 120
        for step in job["steps"]:
            # What a person typed, or named a branch, would become part of the program.
            assert "${{" not in step.get("run", "")
            if step.get("uses", "").startswith("actions/checkout@"):
                assert step["with"]["persist-credentials"] is False


def test_the_bootstrap_writes_contents_and_has_its_token_in_the_last_step_only() -> None:
    (job,) = workflow.read(FOLDER / "bootstrap.yml")["jobs"].values()
    assert job["permissions"] == {"contents": "write"}
    assert ["token" in json.dumps(step) for step in job["steps"]] == [False, False, True]
    assert "token" not in json.dumps(job["env"]) and "secrets." not in json.dumps(job)


def test_the_form_offers_what_the_questions_offer() -> None:
    questions = set(FORM) - {"version"}
    assert questions <= set(helpers.questions())
    (job,) = workflow.read(FOLDER / "bootstrap.yml")["jobs"].values()
    variables = {f"ANSWER_{key.upper()}": f"${{{{ inputs.{key} }}}}" for key in questions}
    assert {key: text for key, text in job["env"].items() if key.startswith("ANSWER")} == variables
    for key in questions - {"gpu"}:
        offered = helpers.offered(key)
        assert FORM[key].get("options", []) == (["recommended", *offered] if offered else [])
    tables = helpers.ROOT / "template/src/{{package_name}}/estimate/tables/gpus.csv"
    names = [line.split(",")[0] for line in tables.read_text("utf-8").splitlines()[1:]]
    assert FORM["gpu"]["options"] == ["none", *names]
    assert len(FORM) <= 10, "GitHub shows no more"


@pytest.mark.parametrize(
    "command",
    [
        ["check-jsonschema", "--builtin-schema", "vendor.github-workflows"],
        ["zizmor", "--offline", "--quiet"],
    ],
    ids=lambda command: command[0],
)
def test_linters_have_nothing_to_say(command: list[str]) -> None:
    program = Path(sys.executable).with_name(command[0])
    done = subprocess.run(
        [program, *command[1:], *FILES], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
