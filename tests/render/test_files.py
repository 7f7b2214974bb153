"""Every rendered file is whole: it parses, is formatted, and is legal and clean everywhere."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
import yaml

import documents
import helpers
from projects import Rendered

pytestmark = pytest.mark.render

TEXT = {".md", ".py", ".toml", ".yml", ".yaml", ".json", ".ipynb", ".txt", ".cfg", ""}
WINDOWS_RESERVED = {
    "con",
    "prn",
    "aux",
    "nul",
    *(f"{p}{n}" for p in ("com", "lpt") for n in range(10)),
}
# Written so that this file does not name them itself.
INDEX_HOST = re.compile(
    r"\b(?:pypi|pythonhosted|anaconda)\.(?:org|com|io)\b|\bdownload\.\w+\.org\b"
)
# homes in general, and where this checkout and this user's files happen to lie
OF_A_MACHINE = re.compile(
    r"(?<![\w.])(?:/(?:root|Users|home/\w+)/|[A-Z]:\\Users|"
    + "|".join(re.escape(f"{place}/") for place in (helpers.ROOT, Path.home()))
    + ")"
)


class _Loader(yaml.SafeLoader):
    """Takes GitLab's `!reference` and refuses a key given twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        assert len(keys) == len(set(keys)), f"a key is given twice: {keys}"
        return super().construct_mapping(node, deep)


_Loader.add_constructor("!reference", lambda loader, node: node.value)

PARSERS: dict[str, Callable[[str], Any]] = {
    ".py": lambda text: compile(text, "file", "exec", flags=ast.PyCF_ONLY_AST),
    ".json": json.loads,
    ".jsonl": lambda text: [json.loads(line) for line in text.splitlines()],
    ".ipynb": json.loads,
    ".toml": tomllib.loads,
    ".yaml": lambda text: list(yaml.load_all(text, Loader=_Loader)),
    ".yml": lambda text: list(yaml.load_all(text, Loader=_Loader)),
}


def test_every_structured_file_parses(project: Rendered) -> None:
    parsed = dict.fromkeys(PARSERS, 0)
    for path in project.files():
        if parse := PARSERS.get(path.suffix):
            try:
                parse(path.read_text("utf-8"))
            except Exception as error:
                pytest.fail(f"{path.relative_to(project.root)} does not parse: {error}")
            parsed[path.suffix] += 1
    assert parsed[".py"] > 20 and parsed[".toml"] and parsed[".yaml"], parsed


def test_no_jinja_is_left(project: Rendered, template: Path) -> None:
    """GitHub's own `${{ … }}` stays, and so do chat templates, which are Jinja too, in Python."""
    variables = "|".join([*helpers.questions(), "advice", "label", "requirements"])
    ours = re.compile(rf"{{{{-?\s*(?:{variables})\b|{{%-?\s*(?:if|for|set)[^%]*\b(?:{variables})\b")
    any_jinja = re.compile(r"(?<!\$){{|{%|{#")
    rendered = {path.name.removesuffix(".jinja") for path in template.rglob("*.jinja")}
    found = []
    for path in project.files():
        if path.suffix in TEXT:
            pattern = any_jinja if path.name in rendered and path.suffix != ".py" else ours
            hits = pattern.finditer(path.read_text("utf-8"))
            found += [f"{path.name}: {hit[0]}" for hit in hits]
    assert found == []


def test_text_is_tidy(project: Rendered) -> None:
    """UTF-8, Unix line ends, no trailing spaces, no gaps where a choice was left out."""
    untidy = []
    for path in project.files():
        name = path.relative_to(project.root).as_posix()
        if path.suffix in TEXT and name != "LICENSE" and not name.startswith("data/sample/"):
            raw = path.read_bytes()
            text = raw.decode("utf-8")
            checks = {
                "Windows line ends": b"\r" in raw,
                "spaces at a line's end": re.search(r"[ \t]$", text, re.MULTILINE),
                "no line break at the end": text and not text.endswith("\n"),
                "empty lines at the end": text.endswith("\n\n"),
                "empty lines at the start": text.startswith("\n"),
                "three empty lines": "\n\n\n\n" in text,
            }
            untidy += [f"{name}: {what}" for what, found in checks.items() if found]
    assert untidy == []


def test_code_is_formatted_and_lints_by_the_projects_own_rules(project: Rendered) -> None:
    for arguments in (["format", "--check"], ["check"]):
        command = [sys.executable, "-m", "ruff", *arguments, "--no-cache", "."]
        done = subprocess.run(
            command, cwd=project.root, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_our_ruff_is_the_projects_ruff(project: Rendered) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ruff", "--version"], capture_output=True, text=True, check=True
    )
    assert f"ruff=={done.stdout.split()[1]} " in (project.root / "requirements.txt").read_text()


def test_paths_are_legal_on_windows(project: Rendered) -> None:
    assert windows_problems([PurePosixPath(name) for name in project.names()]) == []


def test_the_templates_paths_are_legal_on_windows() -> None:
    root = helpers.snapshot()
    paths = [PurePosixPath(path.relative_to(root).as_posix()) for path in root.rglob("*")]
    assert windows_problems(paths) == []


def windows_problems(paths: list[PurePosixPath]) -> list[str]:
    problems = []
    for path in paths:
        for part in path.parts:
            if re.search(r'[<>:"|?*\\\x00-\x1f]', part) or part[-1] in ". ":
                problems.append(f"{path}: illegal characters")
            if part.split(".")[0].lower() in WINDOWS_RESERVED:
                problems.append(f"{path}: a device name")
        if len(str(path)) > 150:
            problems.append(f"{path}: too long")
    folded: dict[str, PurePosixPath] = {}
    for path in paths:
        other = folded.setdefault(str(path).lower(), path)
        if other != path:
            problems.append(f"{path} and {other} differ only in case")
    return problems


def test_nothing_looks_like_a_secret(project: Rendered) -> None:
    found = []
    for path in project.files():
        if path.suffix in TEXT:
            found += [f"{path.name}:{secret}" for secret in secrets_in(path.read_bytes(), path)]
    assert found == []


_scanned: dict[tuple[str, bytes], list[str]] = {}


def secrets_in(content: bytes, path: Path) -> list[str]:
    """Return line and kind of each secret-like string; most files are the same in all projects."""
    from detect_secrets.core.scan import scan_file
    from detect_secrets.settings import default_settings

    key = (path.name, content)
    if key not in _scanned:
        with default_settings():
            _scanned[key] = [f"{hit.line_number}: {hit.type}" for hit in scan_file(str(path))]
    return _scanned[key]


def test_no_file_names_a_machine_or_a_package_index(project: Rendered) -> None:
    own = (str(project.root), str(helpers.ROOT), str(helpers.snapshot()))
    found = []
    for path in project.files():
        if path.name == ".copier-answers.yml" or path.suffix not in TEXT | {".csv", ".jsonl"}:
            continue  # the answers say where the template is
        text = path.read_text("utf-8")
        hits = [*INDEX_HOST.findall(text), *OF_A_MACHINE.findall(text)]
        hits += [folder for folder in own if folder in text]
        found += [f"{path.name}: {hit}" for hit in hits]
    assert found == []


def test_local_links_and_commands_in_documents_exist(project: Rendered) -> None:
    makefile = (project.root / "Makefile").read_text("utf-8")
    targets = set(re.findall(r"^([\w-]+):", makefile, re.MULTILINE))
    problems = []
    for path in project.files("*.md"):
        text, name = path.read_text("utf-8"), path.relative_to(project.root)
        for link in re.findall(r"\]\(([^)\s#]+)", text):
            remote = "://" in link or link.startswith("mailto:")
            if not remote and not (path.parent / link).exists():
                problems.append(f"{name}: link to {link}")
        for line in re.findall(r"(?:^|`)make ([a-z][a-z -]*)", text, re.MULTILINE):
            problems += [f"{name}: make {word}" for word in line.split() if word not in targets]
        for script in re.findall(r"python (?:-m )?((?:scripts|inference|tests)/[\w/.-]+)", text):
            if not (project.root / script).exists():
                problems.append(f"{name}: python {script}")
    assert problems == []


def test_the_readme_says_where_runs_are_recorded(project: Rendered) -> None:
    readme = (project.root / "README.md").read_text("utf-8")
    said = [name for name in ("Weights & Biases", "MLflow") if name in readme]
    names = {"wandb": "Weights & Biases", "mlflow": "MLflow"}
    assert said == [name for key, name in names.items() if key in project.answers["tracking"]]
    assert ("docs/training.md#trackers" in readme) == bool(said)


def test_the_requests_in_documents_are_json(project: Rendered) -> None:
    """Their shell, with a curl that shows what it would send."""
    show = "API_KEY=; curl() { printf '%s' \"${@: -1}\"; }"
    asked = 0
    for path in (project.root / "README.md", project.root / "docs/deployment.md"):
        for block in documents.blocks(path):
            for call in re.findall(r"(?m)^curl (?:.*\\\n)*.*/v1/predict(?:.*\\\n)*.*", block.text):
                sent = subprocess.run(
                    ["bash", "-euc", f"{show}\n{call}"],
                    cwd=project.root,
                    capture_output=True,
                    check=True,
                )
                assert json.loads(sent.stdout)["inputs"], call
                asked += 1
    assert asked >= ("fastapi" in project.answers["serving"])
