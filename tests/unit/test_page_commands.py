"""The commands on our pages: each is run by a test, or says why not."""

from __future__ import annotations

import ast
import re
import subprocess
import sys

import bootstrap
import docs_example
import newest
import pytest
import yaml

import docs
import documents
import helpers

pytestmark = pytest.mark.unit

PAGES = [helpers.ROOT / "README.md", *sorted(docs.DOCS.glob("*.md"))]


def test_every_page_with_commands_has_a_test_that_runs_them() -> None:
    with_commands = {page.name for page in PAGES if documents.commands(page)}
    modules = (helpers.ROOT / "tests").rglob("*.py")
    run = set[str]().union(*(run_by(path.read_text("utf-8")) for path in modules))
    assert {"README.md", "tour.md", "updating.md"} <= with_commands <= run


def run_by(module: str) -> set[str]:
    """Return the pages whose commands a module of the tests takes, by its own constants."""
    tree = ast.parse(module)
    constants = {
        ast.unparse(node.targets[0]): node.value
        for node in tree.body
        if isinstance(node, ast.Assign)
    }
    pages = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "documents.commands":
            page = constants.get(ast.unparse(node.args[0]), node.args[0])
            pages.update(re.findall(r"[\w-]+\.md", ast.unparse(page)))
    return pages


def test_a_page_that_is_only_named_is_not_run() -> None:
    assert run_by('PAGE = DOCS / "a.md"\ndocuments.commands(PAGE)') == {"a.md"}
    assert run_by('"""Follows b.md."""\nPAGE = DOCS / "b.md"\ndocuments.blocks(PAGE)') == set()


def test_the_command_about_health_runs() -> None:
    (block,) = documents.commands(docs.DOCS / "health.md")
    program, script = block.text.split()
    assert program == ".venv/bin/python"
    subprocess.run([sys.executable, script], cwd=helpers.ROOT, check=True, capture_output=True)


def test_the_commands_of_each_week_are_those_of_the_workflows() -> None:
    (block,) = (b for b in documents.blocks(docs.DOCS / "health.md") if b.note and not b.is_run)
    for name in ("matrix", "canary", "locks"):
        workflow = yaml.safe_load(
            (helpers.ROOT / f".github/workflows/{name}.yml").read_text("utf-8")
        )
        steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
        text = "\n".join(step.get("run", "") for step in steps)
        commands = re.findall(
            r"make [a-z]+(?: TESTS=\"[^\"]+\"| ARGS=\S+)?|python tools/\w+\.py", text
        )
        assert commands and [each for each in commands if each not in block.text] == []
    restored = re.search(r"^git restore (.+)$", block.text, re.MULTILINE)
    assert restored
    changed = [*newest.ranges(), *helpers.ROOT.glob("locks/*.txt"), docs_example.DIGESTS]
    changed.append(helpers.ROOT / "requirements-dev.txt")
    names = [path.relative_to(helpers.ROOT).as_posix() for path in changed]
    assert [name for name in names if not name.startswith(tuple(restored[1].split()))] == []


def test_what_is_not_run_says_why() -> None:
    for page in PAGES:
        for block in documents.blocks(page):
            if block.language == "sh" and not block.is_run:
                assert len(block.note) > len(documents.NOT_RUN) + 8, f"{page.name}: {block.text}"


def test_the_template_has_one_address() -> None:
    for page in PAGES:
        named = re.findall(r"\bgh:[\w./-]+", page.read_text("utf-8"))
        assert set(named) <= {bootstrap.SOURCE}, page.name
