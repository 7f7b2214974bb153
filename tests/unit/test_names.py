"""Names: what is refused, with which reason, and what is derived."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from extensions import names

pytestmark = pytest.mark.unit

TAKEN = names.taken(["torch", "huggingface-hub", "typing_extensions"])

HOSTILE_TITLES = {
    "line break": "one\ntwo",
    "carriage return": "one\rtwo",
    "control character": "bell\x07",
    "right-to-left override": "abc\u202egnp",
    "zero-width space": "a\u200bb",
    "line separator": "a\u2028b",
    "lone surrogate": "a\ud800b",
    "parent folder": "../escape",
    "absolute path": "/etc/passwd",
    "backslash": "a\\b",
    "double quote": 'a "b"',
    "braces": "{{ 7 * 7 }}",
    "statement": "{% raw %}",
    "shell variable": "$HOME",
    "backtick": "`id`",
    "tag": "<script>",
    "pipe": "a | b",
    "empty": "",
    "blanks": "   ",
    "blank at the end": "name ",
    "300 characters": "x" * 300,
    "no letter": "---",
    "emoji only": "🎉",
}


@pytest.mark.parametrize("title", HOSTILE_TITLES.values(), ids=HOSTILE_TITLES.keys())
def test_a_hostile_title_is_refused_with_a_remedy(title: str) -> None:
    problem = names.title_problem(title)
    assert problem
    assert any(word in problem for word in ("write", "remove", "needs")), problem


@pytest.mark.parametrize(
    "title",
    ["Ticket router", "Größe Überprüfung", "日本語", "O'Brien & Sons: v2 (beta)", "C# [x] *y* _z_"],
)
def test_an_honest_title_is_accepted(title: str) -> None:
    assert names.title_problem(title) == ""


@pytest.mark.parametrize(
    ("title", "slug"),
    [
        ("Ticket router", "ticket-router"),
        ("Größe Überprüfung", "grosse-uberprufung"),
        ("Ærø Łódź", "aero-lodz"),
        ("日本語", "ml-project"),
        ("日本語 chat", "chat"),
        ("3D shapes", "ml-3d-shapes"),
        ("Torch", "torch-project"),
        ("hugging face_hub", "hugging-face-hub"),
        ("HuggingFace Hub", "huggingface-hub-project"),
        ("Statistics", "statistics-project"),
        ("class", "class-project"),
        ("Tests", "tests-project"),
        ("CON", "con-project"),
        ("O'Brien & Sons", "o-brien-sons"),
        ("---a---", "a"),
        ("x" * 60, "x" * 39),
    ],
)
def test_a_title_becomes_a_slug(title: str, slug: str) -> None:
    assert names.as_slug(title, TAKEN) == slug


@pytest.mark.parametrize(
    "title",
    [
        *HOSTILE_TITLES.values(),
        *[
            "日本語",
            "torch",
            "3D",
            "TEST",
            "sys",
            "None",
            "lpt9",
            "½",
            "İstanbul",
            "yaml",
            "a" * 300,
        ],
    ],
)
def test_derived_names_are_valid_whatever_the_title(title: str) -> None:
    slug = names.as_slug(title, TAKEN)
    package = names.as_package(slug)
    assert names.slug_problem(slug, TAKEN) == ""
    assert names.package_problem(package, TAKEN) == ""
    assert package.isidentifier()
    assert package not in sys.stdlib_module_names


@pytest.mark.parametrize(
    "name", ["torch", "json", "class", "match", "tests", "inference", "con", "yaml", "null"]
)
def test_a_name_in_use_is_refused_and_a_free_one_named(name: str) -> None:
    problem = names.package_problem(name, TAKEN)
    assert f"{name}_project is free" in problem
    assert names.package_problem(f"{name}_project", TAKEN) == ""
    assert f"{name}-project is free" in names.slug_problem(name, TAKEN)


@pytest.mark.parametrize(
    ("name", "holder"),
    [
        ("class", "a word of Python"),
        ("tests", "a folder of the project"),
        ("con", "a name that Windows keeps for itself"),
        ("null", "a word of YAML"),
        ("json", "a module of Python"),
        ("torch", "a package that this project may install"),
    ],
)
def test_it_is_said_who_holds_a_name(name: str, holder: str) -> None:
    assert f"{name} is already {holder};" in names.package_problem(name, TAKEN)


def test_separators_do_not_hide_a_name_in_use() -> None:
    assert "already" in names.package_problem("huggingface_hub", TAKEN)
    assert "already" in names.package_problem("typing_extensions", TAKEN)
    assert "already" in names.slug_problem("typing-extensions", TAKEN)


@pytest.mark.parametrize(
    "package",
    ["", "Router", "1st", "a-b", "a b", "a.b", "../a", "_a", "a__b", "ä", "a" * 60, "a\n"],
)
def test_a_package_name_that_is_no_plain_identifier_is_refused(package: str) -> None:
    assert names.package_problem(package, TAKEN)


def test_the_frozen_standard_library_knows_this_python() -> None:
    public = {name for name in sys.stdlib_module_names if not name.startswith("_")}
    assert public <= set(names._standard_library())


@pytest.mark.parametrize(
    "model",
    [
        "scratch",
        "HuggingFaceTB/SmolLM2-135M-Instruct",
        "MIT/ast-finetuned-audioset-10-10-0.4593",
        "./models/base",
        "../shared/model",
        "/data/models/qwen3",
        "~/models/x",
        "C:/models/x",
    ],
)
def test_a_model_by_hub_id_or_path_is_accepted(model: str) -> None:
    assert names.model_problem(model) == ""


@pytest.mark.parametrize(
    ("model", "remedy"),
    [
        ("https://huggingface.co/Qwen/Qwen3-4B", "Qwen/Qwen3-4B"),
        ("https://example.org", "org/name"),
        ("gpt2", "org/gpt2"),
        ("x" * 97, "(org/name)"),
        ("C:\\models\\x", "write /"),
        ("", "org/name"),
        ("org/name; rm -rf ~", "org/name"),
        ("./a b", "./folder"),
        ("./$(id)", "./folder"),
        ("org/../name", "org/name"),
        ("org/na..me", "org/name"),
        ("org/n\u00e4me", "org/name"),
        ("org/name\n", "org/name"),
        ("o/" + "x" * 300, "org/name"),
        ("{{ x }}/y", "org/name"),
        ("'org'/name", "org/name"),
    ],
)
def test_another_form_of_model_is_refused_and_the_right_one_shown(model: str, remedy: str) -> None:
    assert remedy in names.model_problem(model)


@pytest.mark.parametrize("address", ["", "ada@example.org", "a.b+c@x-y.example"])
def test_an_address_is_accepted(address: str) -> None:
    assert names.email_problem(address) == ""


@pytest.mark.parametrize(
    "address",
    ["ada", "ada@", "@x", "a b@x.org", "a@x.org\n", 'a"@x.org', "a@x" + "x" * 300, "<a@x.org>"],
)
def test_another_text_is_no_address(address: str) -> None:
    assert names.email_problem(address)
    assert names.as_email(address) == ""


def test_a_column_with_a_blank_at_its_end_is_a_column() -> None:
    assert names.facts_problem({"text_column": "text ", "rows": 60}) == ""
    assert names.facts_problem({"text_column": "text\n\x00"})


@pytest.mark.parametrize("budget", [-1.0, float("nan"), float("inf"), 1e12])
def test_an_impossible_budget_is_refused(budget: float) -> None:
    assert names.budget_problem(budget)


@pytest.mark.parametrize(
    ("folder", "title"),
    [
        ("ticket-router", "Ticket router"),
        ("my_LLM.project", "My LLM project"),
        ("日本語", "日本語"),
        ("{{x}}", "X"),
        ("...", "ML project"),
        ("", "ML project"),
        ("a" * 200, "A" + "a" * 59),
    ],
)
def test_a_folder_becomes_a_title(folder: str, title: str) -> None:
    assert names.as_title(folder) == title
    assert names.title_problem(names.as_title(folder)) == ""


def test_a_template_beside_the_project_is_found_from_everywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ml-template").mkdir()
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    full = str(tmp_path / "ml-template")
    assert names.as_source("../ml-template") == names.as_source(full) == full
    for address in ("gh:org/t", "git@host.org:org/t.git", "https://host.org/t", "~/t", "gone", ""):
        assert names.as_source(address) == address
