"""Run a GitHub workflow's steps here, with the environment that GitHub documents.

Of expressions it knows what ours use: names, `'texts'`, `==`, `!`, `&&`, `||`, `hashFiles`.
"""

from __future__ import annotations

import os
import re
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
    """Run the workflow's only job for a push or a form, on the main branch of `origin`."""
    (job,) = read(workflow)["jobs"].values()
    context = event.context()
    if not evaluate(job.get("if", "true"), context):
        return Run("skipped")
    repository = origin.name.removesuffix(".git")
    workspace = folder / "work" / repository
    summary = folder / "summary.md"
    workspace.mkdir(parents=True)
    summary.touch()
    environment = {
        **os.environ,
        "CI": "true",
        "GITHUB_ACTIONS": "true",
        "GITHUB_ACTOR": owner,
        "GITHUB_ACTOR_ID": "1815",
        "GITHUB_EVENT_NAME": event.name,
        "GITHUB_REF": "refs/heads/main",
        "GITHUB_REF_NAME": "main",
        "GITHUB_REPOSITORY": f"{owner}/{repository}",
        "GITHUB_REPOSITORY_OWNER": owner,
        "GITHUB_SERVER_URL": "https://github.example",
        "GITHUB_STEP_SUMMARY": str(summary),
        "GITHUB_WORKSPACE": str(workspace),
        **nobody(folder),
        **substituted(job.get("env", {}), context),
    }
    outcome = Run("success")
    for step in job["steps"]:
        if outcome.conclusion == "failure" or not evaluate(
            step.get("if", "true"), context, workspace
        ):
            continue
        if "uses" in step:
            assert step["uses"].startswith("actions/checkout@")
            assert step["with"]["fetch-depth"] == 0
            helpers.git(workspace, "clone", "--quiet", "--branch", "main", str(origin), ".")
            continue
        outcome.ran.append(step["run"])
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
        if done.returncode:
            outcome.conclusion = "failure"
    outcome.summary = summary.read_text("utf-8")
    return outcome


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
