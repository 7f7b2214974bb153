"""Whatever a text contains, its reader gets the same text back."""

from __future__ import annotations

import ast
import json
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml

from extensions import escaping

pytestmark = pytest.mark.unit

TEXTS = [
    "plain",
    "",
    'say "yes"',
    "it's",
    """both ' and " quotes""",
    "back\\slash\\",
    "line\nbreak\r\ttab",
    "null: [yes, ~, #no, {a: b}]",
    "{{ braces }} {% tag %}",
    "$(id) `id` $HOME ${HOME} %s %PATH%",
    "<script>&amp;</script>",
    "日本語 Größe 🎉",
    "rtl \u202e zero\u200bwidth \u2028 \x85 \x7f \ufeff",
    "tag \U000e0041",
    "<!-- --> ''' \"\"\"",
]


@pytest.mark.parametrize("text", TEXTS)
def test_quoted_strings_come_back(text: str) -> None:
    assert tomllib.loads(f"x = {escaping.toml_string(text)}")["x"] == text
    assert yaml.safe_load(f"x: {escaping.yaml_string(text)}")["x"] == text
    assert json.loads(escaping.json_string(text)) == text
    assert ast.literal_eval(escaping.py_string(text)) == text
    assert shlex.split(escaping.shell_string(text)) == [text]


@pytest.mark.parametrize("text", TEXTS)
def test_python_literals_are_as_ruff_formats_them(text: str, tmp_path: Path) -> None:
    path = tmp_path / "literal.py"
    path.write_text(f"TEXT = {escaping.py_string(text)}\n", "utf-8")
    command = [sys.executable, "-m", "ruff", "format", "--check", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("text", TEXTS)
def test_one_line_is_one_line(text: str) -> None:
    for escape in (escaping.one_line, escaping.md_text, escaping.make_text):
        assert len(escape(text).splitlines()) <= 1


def test_html_shows_the_text() -> None:
    element = ElementTree.fromstring(f"<p>{escaping.html_text('<b>R&D</b> &amp;')}</p>")
    assert element.text == "<b>R&D</b> &amp;"
    assert not list(element)


def test_make_expands_nothing(tmp_path: Path) -> None:
    text = "$(shell id) $HOME a # b"
    (tmp_path / "Makefile").write_text(
        f"x := {escaping.make_text(text)}\nall: ; @:\n$(info $(x))\n"
    )
    done = subprocess.run(["make", "-s"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == text


def test_markdown_marks_are_text_and_plain_words_stay_plain() -> None:
    assert escaping.md_text("*a* [b](c) <d> `e`") == r"\*a\* \[b\](c) \<d\> \`e\`"
    assert escaping.md_text("O'Brien & Sons: R&D (v2)") == "O'Brien & Sons: R&D (v2)"
    assert escaping.md_text("&lt;") == r"\&lt;"
    for text in ("---", "- item", "+ item", "1. item", "2) item", "==="):
        assert "\\" in escaping.md_text(text), "a list, a rule or a heading at a line's start"
    assert escaping.md_text("2.5 GiB - or 3") == "2.5 GiB - or 3"


def test_docker_expands_nothing() -> None:
    assert escaping.docker_string('a "b" $C') == '"a \\"b\\" \\$C"'
