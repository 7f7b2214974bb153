"""Workflows: projects have the same bytes as we, and none may do more than it needs."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import combinations
import helpers
import workflow
from projects import Rendered

pytestmark = pytest.mark.render

FOLDER = helpers.ROOT / ".github/workflows"
FILES = sorted(FOLDER.glob("*.yml"))
OF_A_COPY = ("bootstrap", "ci")  # what may run in a repository just made with the button
SCRIPT = "tools/bootstrap_on_github.py"
CALL = f"python3 {SCRIPT}"
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
def test_no_workflow_may_do_more_than_it_needs(path: Path) -> None:
    content = workflow.read(path)
    assert content["permissions"] in ({}, {"contents": "read"})
    for job in content["jobs"].values():
        assert job["timeout-minutes"] <= 90
        assert "secrets." not in json.dumps(job)
        commands = [step["run"] for step in job["steps"] if "run" in step]
        # What a person typed, or named a branch, would become part of the program.
        assert not any("${{" in text for text in commands)
        for step in job["steps"]:
            action = step.get("uses", "").partition("@")[0]
            if action == "actions/checkout":
                assert step["with"]["persist-credentials"] is False
            if action == "actions/download-artifact":  # it would replace files that run here
                assert step["with"]["path"]
        if "write" in job.get("permissions", {}).values():
            # Pinned actions and our own scripts: whoever gets at a package's code gets no token.
            packages = r"\b(make|pip|uv|python[\d.]*)\b"
            assert not [text for text in commands if re.search(packages, text.replace(CALL, ""))]
        else:
            assert "github.token" not in json.dumps(job)


def test_what_pushes_a_project_needs_no_package() -> None:
    program = f"import {Path(SCRIPT).stem}"
    folder = (helpers.ROOT / SCRIPT).parent
    subprocess.run([sys.executable, "-S", "-c", program], cwd=folder, check=True)


def test_actions_are_pinned_by_commit_and_one_action_has_one_version() -> None:
    pins: dict[str, set[str]] = {}
    for path in FILES:
        for used in re.findall(r"uses: *(.+)", path.read_text("utf-8")):
            match = re.match(r"([\w./-]+)@([0-9a-f]{40} # v\d+\.\d+\.\d+)( # |$)", used)
            assert match, f"{path.name}: {used}"
            pins.setdefault(match[1], set()).add(match[2])
    assert pins and [action for action, versions in pins.items() if len(versions) > 1] == []


@pytest.mark.parametrize(
    "path", [path for path in FILES if path.stem not in OF_A_COPY], ids=lambda path: path.stem
)
def test_a_copy_that_is_no_project_yet_is_not_tested_as_the_template(path: Path) -> None:
    told = {"ML_TEMPLATE_TESTS": "true"}
    cases = [({}, {}, False), ({"is_template": True}, {}, True), ({}, told, True)]
    for job in workflow.read(path)["jobs"].values():
        condition = job.get("if", "true")
        if "needs" in job:
            assert not re.search(r"always|cancelled", condition), "it would run without the first"
            continue
        for event in ("push", "schedule"):
            for repository, variables, runs in cases:
                given = workflow.Event(event, {}, variables, repository)
                assert bool(workflow.evaluate(condition, given.context())) == runs


@pytest.mark.parametrize("job", ["render", "suites"])
def test_the_matrix_covers_every_part(job: str) -> None:
    parts = workflow.read(FOLDER / "matrix.yml")["jobs"][job]["strategy"]["matrix"]["part"]
    assert parts == [f"{part}/{len(parts)}" for part in range(1, len(parts) + 1)]


def test_the_bootstrap_makes_the_project_where_it_may_not_write() -> None:
    jobs = workflow.read(FOLDER / "bootstrap.yml")["jobs"]
    permissions = {name: job["permissions"] for name, job in jobs.items()}
    assert permissions == {"make": {"contents": "read"}, "push": {"contents": "write"}}
    runs = {name: [step.get("run") for step in job["steps"]] for name, job in jobs.items()}
    assert "./bootstrap --on-github" in runs["make"] and runs["push"][-1] == CALL


def test_the_form_offers_what_the_questions_offer() -> None:
    questions = set(FORM) - {"version"}
    assert questions <= set(helpers.questions())
    environment = workflow.read(FOLDER / "bootstrap.yml")["env"]
    variables = {f"ANSWER_{key.upper()}": f"${{{{ inputs.{key} }}}}" for key in questions}
    assert {key: environment[key] for key in environment if key.startswith("ANSWER")} == variables
    for key in questions:
        offered = combinations.every_gpu() if key == "gpu" else helpers.offered(key)
        assert FORM[key].get("options", []) == (["recommended", *offered] if offered else [])
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
