"""Run a GitHub workflow's jobs here, with the environment that GitHub documents.

Of expressions it knows what ours use: names, `'texts'`, `==`, `!`, `&&`, `||`, `hashFiles`.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

import helpers

TOKEN = "ghs_aTokenThatNobodyMayPrint"  # pragma: allowlist secret
_WORD = re.compile(r"'(?:[^']|'')*'|&&|\|\||==|!|[()]|[A-Za-z_][\w.-]*|\s+")
_OPERATORS = {"&&": " and ", "||": " or ", "!": " not "}


@dataclass
class Event:
    """What started the run."""

    name: str = "workflow_dispatch"
    inputs: dict[str, str] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)
    repository: dict[str, Any] = field(default_factory=dict)
    """What differs from an ordinary repository, such as is_template."""

    def context(self) -> dict[str, Any]:
        """Return what expressions see."""
        repository = {"is_template": False, "fork": False, "default_branch": "main"}
        return {
            "github": {
                "event_name": self.name,
                "event": {"repository": {**repository, **self.repository}},
                "ref": "refs/heads/main",
                "ref_name": "main",
                "token": TOKEN,
            },
            "inputs": self.inputs,
            "vars": self.variables,
        }


@dataclass
class Run:
    """What came of it."""

    conclusion: str
    """success, failure or skipped, as GitHub names them."""
    ran: list[str] = field(default_factory=list)
    log: str = ""
    summary: str = ""


def read(path: Path) -> dict[str, Any]:
    """Return a workflow; its triggers are under `on`, which YAML takes for true."""
    content = yaml.safe_load(path.read_text("utf-8"))
    assert isinstance(content, dict)
    content["on"] = content.pop(True)
    return content


def run(
    workflow: Path, event: Event, origin: Path, folder: Path, owner: str = "ada-lovelace"
) -> Run:
    """Run the jobs in the order in which they stand, on the main branch of `origin`.

    Each has a work tree of its own, `folder`/work/JOB, as it has a machine of its own on GitHub.
    """
    content = read(workflow)
    context: dict[str, Any] = {**event.context(), "needs": {}}
    repository = origin.name.removesuffix(".git")
    outcome = Run("skipped")
    environment = {
        **os.environ,
        "CI": "true",
        "GITHUB_ACTIONS": "true",
        "GITHUB_ACTOR": owner,
        "GITHUB_ACTOR_ID": "1815",
        "GITHUB_EVENT_NAME": event.name,
        "GITHUB_OUTPUT": str(folder / "output"),
        "GITHUB_REF": "refs/heads/main",
        "GITHUB_REF_NAME": "main",
        "GITHUB_REPOSITORY": f"{owner}/{repository}",
        "GITHUB_REPOSITORY_OWNER": owner,
        "GITHUB_SERVER_URL": "https://github.example",
        "GITHUB_STEP_SUMMARY": str(folder / "summary.md"),
        **nobody(folder),
        **substituted(content.get("env", {}), context),
    }
    (folder / "summary.md").touch()
    for name, job in content["jobs"].items():
        before = context["needs"][job["needs"]]["result"] if "needs" in job else "success"
        if before != "success" or not evaluate(job.get("if", "true"), context):
            context["needs"][name] = {"result": "skipped"}
            continue
        workspace = folder / "work" / name / repository
        workspace.mkdir(parents=True)
        variables = {**environment, **substituted(job.get("env", {}), context)}
        steps = {**context, "steps": {}}
        result = "success"
        for step in job["steps"]:
            if result == "success" and evaluate(step.get("if", "true"), steps, workspace):
                if "uses" in step:
                    _use(step, workspace, origin, folder / "artifacts")
                elif not _run(step, workspace, variables, steps, outcome):
                    result = "failure"
        outputs = substituted(job.get("outputs", {}), steps)
        context["needs"][name] = {"result": result, "outputs": outputs}
        outcome.conclusion = "failure" if outcome.conclusion == "failure" else result
    outcome.summary = (folder / "summary.md").read_text("utf-8")
    return outcome


def _use(step: Mapping[str, Any], workspace: Path, origin: Path, artifacts: Path) -> None:
    """Do what an action does that ours use."""
    action, given = step["uses"].partition("@")[0], step["with"]
    if action == "actions/checkout":
        assert given["fetch-depth"] == 0
        helpers.git(workspace, "clone", "--quiet", "--branch", "main", str(origin), ".")
    elif action == "actions/upload-artifact":
        (artifacts / given["name"]).mkdir(parents=True)
        shutil.copy2(workspace / given["path"], artifacts / given["name"])
    else:
        assert action == "actions/download-artifact", action
        source, target = artifacts / given["name"], workspace / given["path"]
        shutil.copytree(source, target, dirs_exist_ok=True)


def _run(
    step: Mapping[str, Any],
    workspace: Path,
    environment: Mapping[str, str],
    context: dict[str, Any],
    outcome: Run,
) -> bool:
    """Run a step's commands; add to the outcome and to the context's `steps`."""
    outcome.ran.append(step["run"])
    output = Path(environment["GITHUB_OUTPUT"])
    output.write_text("", "utf-8")
    done = subprocess.run(
        ["bash", "-e", "-c", step["run"]],
        cwd=workspace,
        env={**environment, **substituted(step.get("env", {}), context)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=300,
    )
    outcome.log += done.stdout
    outputs = dict(line.split("=", 1) for line in output.read_text("utf-8").splitlines())
    context["steps"][step.get("id", "")] = {"outputs": outputs}
    return done.returncode == 0


def nobody(folder: Path) -> dict[str, str]:
    """Return variables for git as on a machine where nobody has set it up."""
    return {"GIT_CONFIG_GLOBAL": str(folder / "no.gitconfig"), "GIT_CONFIG_NOSYSTEM": "1"}


def substituted(values: Mapping[str, Any], context: Mapping[str, Any]) -> dict[str, str]:
    """Return `env` with its expressions replaced; GitHub makes all of them texts."""
    pattern = re.compile(r"\$\{\{(.*?)\}\}", re.DOTALL)
    return {
        key: pattern.sub(lambda match: str(evaluate(match[1], context)), str(text))
        for key, text in values.items()
    }


def evaluate(expression: str, context: Mapping[str, Any], workspace: Path | None = None) -> Any:
    """Return the value of an expression; a name that is not there is an empty text."""

    def look(name: str) -> Any:
        value: Any = context
        for part in name.split("."):
            value = value.get(part, "") if isinstance(value, Mapping) else ""
        return value

    def hash_files(pattern: str) -> str:
        assert workspace is not None, "hashFiles needs a checkout"
        return "digest" if any(workspace.glob(pattern)) else ""

    text = expression.strip().removeprefix("${{").removesuffix("}}").strip()
    words = [match[0] for match in _WORD.finditer(text)]
    assert "".join(words) == text, f"this module does not know all of {text!r}"
    python = ""
    for word in words:
        if word in _OPERATORS or not word.strip() or word in ("==", "(", ")"):
            python += _OPERATORS.get(word, " " if not word.strip() else word)
        elif word.startswith("'"):
            python += repr(word[1:-1].replace("''", "'"))
        elif word in ("true", "false"):
            python += word.title()
        else:
            python += "hash_files" if word == "hashFiles" else f"look({word!r})"
    return eval(python, {"look": look, "hash_files": hash_files})
