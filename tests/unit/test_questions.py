"""The questionnaire: what is asked, what is refused, what is stored."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import copier
import pytest
import yaml
from copier import _main
from copier.errors import UserMessageError

import helpers

pytestmark = pytest.mark.unit

QUICK = ["project_name", "detail", "task", "gpu", "base_model", "strategy"]
CONTRACT = {
    *("project_name", "description", "author_name", "author_email", "project_slug"),
    *("package_name", "license", "detail", "task", "framework", "base_model", "gpu", "gpu_count"),
    *("strategy", "parallelism", "platform", "tracking", "serving", "target", "budget_usd"),
    *("sensitive_data", "environment", "ci"),
}
FILES = {
    "answers.toml.jinja": "name = {{ project_name | toml_string }}\n"
    "description = {{ description | toml_string }}\nauthor = {{ author_name | toml_string }}\n",
    "answers.yaml.jinja": "name: {{ project_name | yaml_string }}\n"
    "description: {{ description | yaml_string }}\n",
    "answers.py.jinja": "DESCRIPTION = {{ description | py_string }}\n",
    "src/{{package_name}}/__init__.py": "",
    "{{task_llm}}/llm.txt": "",
    "{{serving_fastapi}}/service.txt": "",
    "{{serving_none}}/no-service.txt": "",
    "{{tracking_none}}/no-tracking.txt": "",
}


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return helpers.miniature(tmp_path_factory.mktemp("miniature") / "template", FILES)


@pytest.fixture
def copy(template: Path, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Return a function that generates and returns the stored answers."""

    def generate(**answers: Any) -> dict[str, Any]:
        project = helpers.copy_project(tmp_path / "project", template=template, **answers)
        return stored_answers(project)

    return generate


def stored_answers(project: Path) -> dict[str, Any]:
    answers: dict[str, Any] = yaml.safe_load((project / ".copier-answers.yml").read_text("utf-8"))
    return answers


@pytest.fixture
def dialogue(monkeypatch: pytest.MonkeyPatch, template: Path, tmp_path: Path) -> Callable[..., Any]:
    """Return a function that answers the prompts, and returns their texts by question."""

    def ask(**typed: Any) -> dict[str, str]:
        put: dict[str, str] = {}

        def prompt(structures: list[dict[str, Any]], answers: dict[str, Any]) -> dict[str, Any]:
            (structure,) = structures
            name = structure["name"]
            put[name] = structure["message"]
            return {name: typed.get(name, answers[name])}

        monkeypatch.setattr(_main, "unsafe_prompt", prompt)
        copier.run_copy(
            str(template), tmp_path / "project", unsafe=True, quiet=True, overwrite=True
        )
        return put

    return ask


# ── What is asked ────────────────────────────────────────────────────────────────────────────────


def test_every_key_of_the_contract_is_a_question_and_each_says_what_it_decides() -> None:
    questions = helpers.questions()
    assert set(questions) >= CONTRACT
    for key, spec in questions.items():
        assert len(spec["help"]) > 20, key


@pytest.mark.usefixtures("no_gpu")
def test_quick_asks_six_questions(dialogue: Callable[..., Any]) -> None:
    assert list(dialogue()) == QUICK


@pytest.mark.usefixtures("no_gpu")
def test_full_asks_every_question_with_something_to_choose(dialogue: Callable[..., Any]) -> None:
    one_choice = {
        key
        for key, spec in helpers.questions().items()
        if isinstance(spec.get("choices"), dict)
        and len(spec["choices"]) <= (0 if spec.get("multiselect") else 1)
    }
    expected = set(helpers.questions()) - one_choice - {"copyright_year", "data_facts"}
    assert set(dialogue(detail="full")) == expected


def test_reasons_with_numbers_stand_in_the_questions(
    dialogue: Callable[..., Any], with_gpus: Callable[..., None]
) -> None:
    with_gpus("Tesla T4")
    put = dialogue()
    assert "This machine has 1 x T4 (14.8 GiB)" in put["gpu"]
    assert "Qwen/Qwen3-4B (4.0 B parameters)" in put["base_model"]
    assert "GiB" in put["strategy"]


# ── What is stored ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.usefixtures("no_gpu")
def test_questions_not_asked_are_stored_too(dialogue: Callable[..., Any], tmp_path: Path) -> None:
    dialogue()
    assert set(helpers.questions()) <= set(stored_answers(tmp_path / "project"))


def test_the_machine_is_recorded_once_and_kept_on_another(
    template: Path, tmp_path: Path, with_gpus: Callable[..., None]
) -> None:
    """An update where there is no GPU must not change the project."""
    repository = tmp_path / "template"
    subprocess.run(["cp", "-r", str(template), str(repository)], check=True)
    helpers.commit_all(repository, "first", "1.0.0")
    with_gpus("NVIDIA H100 80GB HBM3")
    project = helpers.copy_project(
        tmp_path / "project", template=repository, ref="1.0.0", gpu=None, author_name=None
    )
    before = stored_answers(project)
    assert (before["gpu"], before["base_model"]) == ("H100", "Qwen/Qwen3-8B")
    helpers.commit_all(project, "generated")
    with_gpus()
    helpers.commit_all(repository, "second", "1.1.0")
    helpers.update_project(project, ref="1.1.0")
    after = stored_answers(project)
    assert after.pop("_commit") == "1.1.0"
    assert after == {key: value for key, value in before.items() if key != "_commit"}


def test_sensible_defaults_follow_from_the_answers(copy: Callable[..., dict[str, Any]]) -> None:
    answers = copy(sensitive_data=True, target="mobile")
    assert answers["license"] == "proprietary"
    assert answers["serving"] == []  # its task writes text


def test_without_a_name_the_folder_names_the_project(template: Path, tmp_path: Path) -> None:
    project = helpers.copy_project(
        tmp_path / "my-llm_project", template=template, project_name=None
    )
    answers = stored_answers(project)
    assert answers["project_name"] == "My llm project"
    assert answers["package_name"] == "my_llm_project"


@pytest.mark.parametrize("folder", ["torch", "123", "日本語", "{{x}}", "a'b\"c", "...x", "x" * 200])
def test_defaults_are_valid_in_any_folder(template: Path, tmp_path: Path, folder: str) -> None:
    project = helpers.copy_project(tmp_path / folder, template=template, project_name=None)
    answers = stored_answers(project)
    assert answers["project_name"].strip() and answers["package_name"].isidentifier()


def test_an_author_that_git_spells_wildly_does_not_stop_the_defaults(
    template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configuration = tmp_path / "gitconfig"
    configuration.write_text('[user]\n\tname = "a\\tb"\n\temail = "no address"\n', "utf-8")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(configuration))
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", "/dev/null")
    project = helpers.copy_project(
        tmp_path / "project", template=template, author_name=None, author_email=None
    )
    answers = stored_answers(project)
    assert answers["author_name"] == "Ticket router authors"
    assert answers["author_email"] == ""


# ── What is refused ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("answers", "remedy"),
    [
        ({"project_name": "../escape"}, "write words"),
        ({"project_name": "a\nb"}, "write one line"),
        ({"project_name": "a\u202eb"}, "remove it"),
        ({"project_name": "{{ 7 * 7 }}"}, "write words"),
        ({"project_name": ""}, "write at least one word"),
        ({"project_name": "x" * 300}, "at most 60"),
        ({"project_slug": "torch"}, "torch-project is free"),
        ({"project_slug": "../x"}, "write small letters"),
        ({"package_name": "json"}, "json_project is free"),
        ({"package_name": "inference"}, "inference_project is free"),
        ({"description": "a\u200bb"}, "remove it"),
        ({"description": "two\nlines"}, "write one line"),
        ({"author_name": ""}, "write at least one word"),
        ({"author_email": "nobody"}, "ada@example.org"),
        ({"base_model": "gpt2"}, "org/gpt2"),
        ({"base_model": "x; rm -rf ~"}, "./folder"),
        ({"base_model": "scratch", "strategy": "lora"}, "choose full"),
        ({"base_model": "Qwen/Qwen3-4B", "strategy": "full", "gpu": "T4"}, "choose lora"),
        ({"base_model": "Qwen/Qwen3-32B", "gpu": "T4"}, "larger GPU"),
        ({"gpu": "H100", "gpu_count": 2, "parallelism": "single"}, "choose ddp"),
        ({"gpu": "none", "gpu_count": 2}, "choose 1"),
        ({"gpu_count": "two"}, "whole number"),
        ({"budget_usd": ""}, "such as 100"),
        ({"budget_usd": "-5"}, "such as 100"),
        ({"budget_usd": "nan"}, "such as 100"),
        ({"sensitive_data": "maybe"}, "true or false"),
        ({"gpu": "H1000"}, "did you mean"),
        ({"task": "text-classification"}, "did you mean text_classification?"),
        ({"task": "weather"}, "choose llm or text_classification"),
        ({"strategy": "qlorra"}, "did you mean qlora?"),
        ({"license": "apache-2.0"}, "did you mean Apache-2.0?"),
        ({"framework": "jax"}, "choose transformers"),
        ({"serving": "[fastapii]"}, "did you mean fastapi?"),
        ({"serving": ["triton"]}, "choose fastapi"),
        ({"serving": "fastapi"}, "such as [fastapi,"),
        ({"serving": "[fastapi"}, "such as [fastapi,"),
        ({"tracking": "[wandbb]"}, "did you mean wandb?"),
        ({"tracking": ["neptune"]}, "choose wandb or mlflow"),
        ({"gpu_count": 1.5}, "a whole number"),
        ({"description": ["a list"]}, "put it in quotes"),
    ],
    ids=str,
)
def test_what_cannot_work_is_refused_with_what_can(
    copy: Callable[..., dict[str, Any]], tmp_path: Path, answers: dict[str, Any], remedy: str
) -> None:
    with pytest.raises(UserMessageError) as error:
        copy(**answers)
    assert remedy in str(error.value)
    assert str(error.value).split("=")[0] in answers
    assert not (tmp_path / "project").exists()


def test_the_command_line_shows_the_reason_and_no_traceback(template: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "copier", "copy", "--trust", "--defaults"]
    command += ["--data", "project_slug=torch", str(template), str(tmp_path / "project")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "torch-project is free" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_misspelt_question_is_refused_but_not_a_stored_one(
    template: Path, tmp_path: Path
) -> None:
    repository, project = tmp_path / "template", tmp_path / "project"
    shutil.copytree(template, repository)
    helpers.commit_all(repository, "first", "1.0.0")
    options: dict[str, Any] = {"defaults": True, "unsafe": True, "quiet": True, "overwrite": True}
    misspelt = {**helpers.ANSWERS, "taks": "llm"}
    with pytest.raises(UserMessageError, match=r"^taks is no question; did you mean task\?$"):
        copier.run_copy(str(repository), project, data=misspelt, **options)
    assert not project.exists()

    helpers.copy_project(project, template=repository)
    with (project / ".copier-answers.yml").open("a", encoding="utf-8") as file:
        file.write("taks: llm\n")  # as if it had been a question
    helpers.commit_all(project, "generated")
    with pytest.raises(UserMessageError, match=r"^licence is no question; did you mean license\?$"):
        copier.run_update(project, data={"licence": "MIT"}, **options)
    assert helpers.git(project, "status", "--porcelain") == ""
    helpers.update_project(project, license="MIT")
    assert (stored_answers(project)["license"], "taks" in stored_answers(project)) == ("MIT", False)


def test_a_stored_answer_that_became_impossible_is_computed_anew(
    template: Path, tmp_path: Path
) -> None:
    """LoRA was stored; starting from scratch, an update must choose full."""
    repository = tmp_path / "template"
    subprocess.run(["cp", "-r", str(template), str(repository)], check=True)
    helpers.commit_all(repository, "first", "1.0.0")
    project = helpers.copy_project(
        tmp_path / "project", template=repository, ref="1.0.0", strategy="lora"
    )
    helpers.commit_all(project, "generated")
    helpers.update_project(project, ref="1.0.0", base_model="scratch")
    assert stored_answers(project)["strategy"] == "full"


def test_the_test_helper_rejects_an_unknown_answer(template: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyError, match="did you mean"):
        helpers.copy_project(tmp_path / "x", template=template, bas_model="scratch")


# ── What comes out ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "text",
    [
        """quotes ' and " and ''' and \"\"\"""",
        "back\\slash \\n \\u0041",
        "# no comment: [1, 2] {a: b} & *x !y |z >w %TAG @a `b`",
        "$HOME $(id) %PATH% ${x}",
        "日本語 Größe 🎉",
        "yes",
        "null",
        "1e3",
        "{{ 7 * 7 }} {% raw %} {# no #}",
    ],
)
def test_an_accepted_text_arrives_as_it_was_in_every_file_type(
    copy: Callable[..., dict[str, Any]], tmp_path: Path, text: str
) -> None:
    answers = copy(description=text, author_name=text)
    project = tmp_path / "project"
    assert answers["description"] == answers["author_name"] == text
    toml = tomllib.loads((project / "answers.toml").read_text("utf-8"))
    assert toml["description"] == toml["author"] == text
    assert yaml.safe_load((project / "answers.yaml").read_text("utf-8"))["description"] == text
    values: dict[str, Any] = {}
    exec((project / "answers.py").read_text("utf-8"), values)
    assert values["DESCRIPTION"] == text


@pytest.mark.parametrize(
    ("title", "package"),
    [
        ("Größe Überprüfung", "grosse_uberprufung"),
        ("日本語", "ml_project"),
        ("torch", "torch_project"),
        ("json", "json_project"),
        ("Inference", "inference_project"),
        ("O'Brien's #1: [draft] *x*", "o_brien_s_1_draft_x"),
    ],
)
def test_a_title_gives_a_package_that_can_be_imported(
    copy: Callable[..., dict[str, Any]], tmp_path: Path, title: str, package: str
) -> None:
    answers = copy(project_name=title)
    assert answers["project_name"] == title
    assert answers["package_name"] == package
    assert (tmp_path / "project" / "src" / package / "__init__.py").is_file()


def test_choices_become_files(copy: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    copy(task="llm", serving="[]")
    names = {path.name for path in (tmp_path / "project").glob("*.txt")}
    assert names == {"llm.txt", "no-service.txt", "no-tracking.txt"}
