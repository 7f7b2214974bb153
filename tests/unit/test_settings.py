"""`organisation.yml`: what it may say, and one sentence for each mistake in it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import copier
import pytest
import yaml
from copier.errors import UserMessageError

import forks
import helpers
from extensions import organisation, questions, settings

pytestmark = pytest.mark.unit

QUESTIONS = questions.read(helpers.ROOT / "copier.yml")
SHOWN = (
    "{{ license }}\n{{ target }}\n{{ tracking | join(' ') }}\n{{ author_name }}\n{{ strategy }}\n"
)
NAME = "name: Acme\n"


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    return helpers.miniature(tmp_path / "template", {"shown.txt.jinja": SHOWN})


@pytest.fixture
def copy(plain: Path, tmp_path: Path) -> Callable[..., list[str]]:
    """Return a function that makes a project with these settings, and returns what it shows."""

    def generate(organisation_yml: str, **answers: Any) -> list[str]:
        (plain / forks.SETTINGS).write_text(organisation_yml, "utf-8")
        project = tmp_path / f"project-{len(list(tmp_path.iterdir()))}"
        given: dict[str, Any] = {"author_name": None, **answers}
        helpers.copy_project(project, template=plain, **given)
        return (project / "shown.txt").read_text("utf-8").splitlines()

    return generate


# ── What it decides ──────────────────────────────────────────────────────────────────────────────


def test_every_question_can_be_decided_by_an_organisation() -> None:
    for key, spec in helpers.questions().items():
        if key not in settings.COUNTED:
            assert spec["default"].startswith(f"{{{{ usual('{key}', "), key
            assert spec["validator"].startswith(f"{{{{ fixed('{key}') "), key


def test_a_default_is_a_default(copy: Callable[..., list[str]]) -> None:
    said = (
        NAME
        + "defaults: {author_name: 'R & D: \"x\" {{ 7 * 7 }}', tracking: [mlflow], target: edge}"
    )
    assert copy(said)[1:4] == ["edge", "mlflow", 'R & D: "x" {{ 7 * 7 }}']
    assert copy(said, target="cloud", tracking=[])[1:3] == ["cloud", ""]


def test_a_default_that_cannot_work_here_is_not_taken_and_a_line_says_so(
    plain: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (plain / forks.SETTINGS).write_text(NAME + "defaults: {strategy: qlora}", "utf-8")
    data = {**helpers.ANSWERS, "task": "llm", "base_model": "scratch"}
    project = tmp_path / "project"
    copier.run_copy(str(plain), project, data=data, defaults=True, unsafe=True)
    assert (project / "shown.txt").read_text("utf-8").splitlines()[4] == "full"
    said = [line for line in capsys.readouterr().err.splitlines() if "strategy" in line]
    assert len(said) == 1 and "defaults.strategy: qlora is not taken here: random" in said[0]


def test_what_is_fixed_has_one_answer(copy: Callable[..., list[str]]) -> None:
    said = NAME + "fixed: {license: {value: MIT, reason: we like it short}}"
    assert copy(said)[0] == "MIT"
    assert copy(said, license="MIT")[0] == "MIT"
    with pytest.raises(
        UserMessageError, match=r"license=Apache-2\.0: Acme fixes it to MIT: we like"
    ):
        copy(said, license="Apache-2.0")
    said = NAME + "fixed: {tracking: {value: [mlflow], reason: it is ours}}"
    assert copy(said, tracking="[mlflow]")[2] == "mlflow"
    with pytest.raises(UserMessageError, match=r"Acme fixes it to \[mlflow\]: it is ours"):
        copy(said, tracking=["wandb", "mlflow"])


def test_what_is_fixed_and_cannot_work_is_refused(copy: Callable[..., list[str]]) -> None:
    said = NAME + "fixed: {strategy: {value: lora, reason: disks are full}}"
    with pytest.raises(UserMessageError, match=r"fixes strategy to lora \(disks are full\), which"):
        copy(said, base_model="scratch")


def test_a_licence_of_ones_own_is_a_choice(
    copy: Callable[..., list[str]], plain: Path, tmp_path: Path
) -> None:
    text = plain / "template" / organisation.FOLDER / "{{license_Acme}}" / "LICENSE"
    text.parent.mkdir(parents=True)
    text.write_text("All of it is ours.\n", "utf-8")
    said = NAME + "licences: {Acme: {label: ours}}"
    assert copy(said)[0] == "Apache-2.0"
    assert copy(said, license="Acme")[0] == "Acme"
    assert [path.parent.name for path in tmp_path.glob("*/LICENSE")] == ["project-2"]
    with pytest.raises(UserMessageError, match="did you mean Acme"):
        copy(said, license="acme")


@pytest.mark.parametrize("hidden", [True, False])
def test_what_is_hidden_or_fixed_is_not_asked(
    plain: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    hidden: bool,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from copier import _main

    put: list[str] = []

    def prompt(structures: list[dict[str, Any]], answers: dict[str, Any]) -> dict[str, Any]:
        name = structures[0]["name"]
        put.append(name)
        return {name: answers[name]}

    said = "hidden: [gpu]" if hidden else "fixed: {gpu: {value: none, reason: no budget}}"
    (plain / forks.SETTINGS).write_text(NAME + said, "utf-8")
    monkeypatch.setattr(_main, "unsafe_prompt", prompt)
    copier.run_copy(str(plain), tmp_path / "project", unsafe=True, overwrite=True)
    assert put and "gpu" not in put
    told = "gpu is none: no budget" in capsys.readouterr().err.splitlines()
    assert told is not hidden


# ── What is wrong with it ────────────────────────────────────────────────────────────────────────

INDEX = "indexes: [{name: acme, url: '%s'}]"
SECRET = "hunter2"  # pragma: allowlist secret


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("- a", "the file: is no table"),
        ("name: [", "line 1 is not YAML"),
        ("name: a\nname: b", "line 2 is not YAML: name is there twice"),
        (NAME + "defaults: {author_name: {{ x }}}", "is not YAML: found unhashable key"),
        (NAME + "prices: [{as_of: 2026-11-31}]", "what YAML cannot read: day is out of range"),
        ("defaults: {}", "name: is missing"),
        ("name: 7", "name: is missing"),
        (NAME + "default: {}", "'default' is no setting; did you mean defaults?"),
        (NAME + "defaults: [license]", "defaults: is no table"),
        (NAME + "defaults: {licence: MIT}", "'licence' is no question; did you mean license?"),
        (NAME + "defaults: {license: mit}", "defaults.license: mit is not offered; did you mean"),
        (NAME + "defaults: {tracking: [mlflo]}", "mlflo is not offered; did you mean mlflow?"),
        (NAME + "defaults: {budget_usd: much}", "defaults.budget_usd: much is not a number"),
        (NAME + "defaults: {sensitive_data: maybe}", "is neither yes nor no"),
        (NAME + "defaults: {data_facts: {}}", "data_facts is counted, not chosen"),
        (NAME + "fixed: {license: MIT}", "fixed.license: is no table"),
        (NAME + "fixed: {license: {value: MIT}}", "fixed.license: reason is missing"),
        (NAME + "fixed: {license: {value: MIT, reason: ''}}", "fixed.license.reason: is empty"),
        (NAME + "fixed: {license: {value: GPL, reason: x}}", "license.value: GPL is not offered"),
        (NAME + "hidden: [bugdet_usd]", "did you mean budget_usd?"),
        (NAME + "hidden: budget_usd", "hidden: is no list"),
        (NAME + "licences: {Acme: {label: x}}", "{{organisation}}/{{license_Acme}}/LICENSE"),
        (NAME + "licences: {'a b': {label: x}}", "write letters, digits"),
        (NAME + "recommended: {lmm: [ours]}", "'lmm' is no task; did you mean llm?"),
        (NAME + "recommended: {llm: []}", "recommended.llm: is empty"),
        (NAME + "recommended: {llm: [1]}", "recommended.llm: write hub ids"),
        (NAME + "prices: {a: 1}", "prices: is no list"),
        (NAME + "prices: [{provider: [a]}]", "prices, row 1: provider: write a number or a text"),
        (NAME + INDEX % f"https://me:{SECRET}@packages.acme.example/simple", "is no plain address"),
        (NAME + INDEX % f"https://packages.acme.example/?token={SECRET}", "is no plain address"),
        (NAME + INDEX % "packages.acme.example", "is no plain address"),
        (NAME + "indexes: [{name: A B, url: 'https://x.example/'}]", "entry 1: name: write small"),
        (NAME + "indexes: [{nam: a}]", "'nam' is no setting; did you mean name?"),
        (NAME + "indexes: [{name: a, url: 'https://x.io/', default: 1}]", "write true or false"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_sentence(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / forks.SETTINGS
    path.write_text(text, "utf-8")
    with pytest.raises(settings.SettingsError) as caught:
        settings.read(path, QUESTIONS)
    said = str(caught.value)
    assert said.startswith(organisation.FILE) and says in said, said
    assert "\n" not in said and SECRET not in said


def test_a_licence_of_ours_keeps_its_text(tmp_path: Path) -> None:
    path = tmp_path / forks.SETTINGS
    path.write_text(NAME + "licences: {MIT: {label: ours}}", "utf-8")
    text = tmp_path / "template" / organisation.FOLDER / "{{license_MIT}}" / "LICENSE"
    text.parent.mkdir(parents=True)
    text.write_text("x", "utf-8")
    with pytest.raises(settings.SettingsError, match=r"licences\.MIT: is the template's"):
        settings.read(path, QUESTIONS)


def test_two_defaults_and_two_equal_names_are_refused(tmp_path: Path) -> None:
    path = tmp_path / forks.SETTINGS
    for second, says in (
        ({"name": "b", "default": True}, "only one"),
        ({"name": "a"}, "the same name"),
    ):
        first = {"name": "a", "url": "https://a.example/", "default": True}
        indexes = [first, {"url": "https://b.example/", **second}]
        path.write_text(yaml.safe_dump({"name": "Acme", "indexes": indexes}), "utf-8")
        with pytest.raises(settings.SettingsError, match=says):
            settings.read(path, QUESTIONS)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("defaults: {author_email: nobody}", "organisation.yml: defaults.author_email: nobody:"),
        (
            "defaults: {gpu: H1000}",
            "defaults.gpu: H1000: H1000 is not offered; did you mean H100",
        ),
        ("prices: [{provider: acme, instance: x, gpu: H101}]", "prices, row 1: column gpu_count"),
        ("recommended: {llm: [acme/none]}", "recommended.llm: model 'acme/none' is not a preset"),
    ],
)
def test_what_only_the_copy_can_see_is_one_sentence_too(
    copy: Callable[..., list[str]], tmp_path: Path, text: str, says: str
) -> None:
    with pytest.raises(UserMessageError) as caught:
        copy(NAME + text, gpu=None, author_email=None)
    assert says in str(caught.value)
    assert list(tmp_path.glob("project*")) == []


def test_a_file_that_the_template_writes_too_is_refused(
    copy: Callable[..., list[str]], plain: Path, tmp_path: Path
) -> None:
    own = plain / "template" / organisation.FOLDER / "{{ci_github}}" / "shown.txt"
    own.parent.mkdir(parents=True)
    own.write_text("ours\n", "utf-8")
    with pytest.raises(UserMessageError, match=r"holds shown\.txt, which the template writes"):
        copy(NAME)
    assert list(tmp_path.glob("project*")) == []
    assert copy(NAME, ci="none")
