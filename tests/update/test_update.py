"""`copier update` in a project with a history: what users did stays, what is ours moves on."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

import helpers

pytestmark = pytest.mark.update

OLD, NEW = "1.0.0", "1.1.0"
PACKAGE = Path("template", "src", "{{package_name}}")
ADDED, DROPPED = "template/docs/costs.md.jinja", "template/docs/an_old_page.md"


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone of the template with an older version, and the working tree as the new one."""
    return two_versions(tmp_path_factory.mktemp("template") / "ml-template")


@pytest.fixture
def project(repository: Path, tmp_path: Path) -> Path:
    """A project of the older version, committed."""
    made = helpers.copy_project(tmp_path / "project", template=repository, ref=OLD)
    helpers.commit_all(made, "made from the template")
    return made


def two_versions(folder: Path, new: Callable[[Path], None] | None = None) -> Path:
    helpers.copy_working_tree(folder)
    make_older(folder)
    if new:
        new(folder)
    helpers.commit_all(folder, "old", OLD)
    for path in folder.iterdir():
        if path.name != ".git":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    helpers.copy_working_tree(folder)
    if new:
        new(folder)
    helpers.commit_all(folder, "new", NEW)
    return folder


def make_older(template: Path) -> None:
    """Turn the tree into what an earlier version could have been."""
    (template / ADDED).unlink()
    (template / DROPPED).write_text("# A page that the new version drops\n", "utf-8")
    replace(template / "locks/transformers.txt", r"tqdm==", "tqdm==4.0.0+older.")
    replace(
        template / "template/configs/train.yaml.jinja",
        "  keep_checkpoints: 2",
        "  keep_checkpoints: 3",
    )
    replace(template / PACKAGE / "rows.py", "Reading rows from", "Reads rows from")
    for task in ("llm", "text_classification"):
        data = (
            template / "template" / f"{{{{task_{task}}}}}" / "src" / "{{package_name}}" / "data.py"
        )
        replace(
            data,
            "from __future__ import annotations\n",
            "from __future__ import annotations\n\n# older\n",
        )
    # A change in what computes, not in what is rendered: an update runs both in one process.
    replace(template / "extensions/pins.py", 'return "this project" if', 'return "the project" if')


def replace(path: Path, old: str, new: str) -> None:
    text = path.read_text("utf-8")
    assert old in text, f"{path.name} no longer holds {old!r}: mend this test"
    path.write_text(text.replace(old, new, 1), "utf-8")


def edit(project: Path) -> None:
    """Do what users do in their first week."""
    package = project / "src" / "ticket_router"
    (package / "my_features.py").write_text(
        "def shout(text: str) -> str:\n    return text.upper()\n"
    )
    with (package / "data.py").open("a", encoding="utf-8") as data:
        data.write("\n\ndef our_own_cleaning(text: str) -> str:\n    return text.strip()\n")
    replace(project / "configs/train.yaml", "  seed: 0", "  seed: 7")
    replace(project / "README.md", "\n## ", "\nWe are the team of floor three.\n\n## ")
    (project / ".gitignore").open("a", encoding="utf-8").write("/our-notes/\n")
    (project / "notebooks/read_a_run.ipynb").unlink()


def test_users_edits_stay_and_the_rest_becomes_the_new_version(
    repository: Path, project: Path, tmp_path: Path
) -> None:
    edit(project)
    helpers.commit_all(project, "our edits")
    helpers.update_project(project, ref=NEW)

    expected = helpers.copy_project(tmp_path / "fresh", template=repository, ref=NEW)
    edit(expected)
    assert_same(project, expected)
    assert not (project / "docs/an_old_page.md").exists()
    assert (project / "docs/costs.md").is_file()


def test_an_edit_of_the_same_line_is_marked_and_nothing_of_it_is_lost(project: Path) -> None:
    replace(project / "configs/train.yaml", "keep_checkpoints: 3", "keep_checkpoints: 9")
    helpers.commit_all(project, "our number of checkpoints")
    helpers.update_project(project, ref=NEW)
    text = (project / "configs/train.yaml").read_text("utf-8")
    assert "<<<<<<<" in text and "keep_checkpoints: 9" in text and "keep_checkpoints: 2" in text
    assert list(project.rglob("*.rej")) == []


@pytest.mark.parametrize(
    "answers",
    [
        {"task": "text_classification"},
        {"strategy": "full", "base_model": "scratch"},
        {"serving": []},
        {"environment": "conda", "ci": "none", "license": "MIT"},
    ],
    ids=lambda answers: "-".join(answers),
)
def test_changed_answers_swap_the_overlays(
    repository: Path, tmp_path: Path, answers: dict[str, Any]
) -> None:
    project = helpers.copy_project(
        tmp_path / "project", template=repository, ref=OLD, strategy="lora", base_model="./base"
    )
    own = project / "src" / "ticket_router" / "my_features.py"
    own.write_text("OURS = True\n", "utf-8")
    helpers.commit_all(project, "made from the template")
    helpers.update_project(project, ref=NEW, **answers)

    stored = stored_answers(project)
    assert {key: stored[key] for key in answers} == answers
    given = {key: value for key, value in stored.items() if not key.startswith("_")}
    fresh = helpers.copy_project(tmp_path / "fresh", template=repository, ref=NEW, **given)
    assert own.read_text("utf-8") == "OURS = True\n"
    own.unlink()
    assert_same(project, fresh)


def test_every_released_version_can_be_updated(tmp_path: Path) -> None:
    """The real history: the newest tags and the last commit, each to the working tree."""
    versions = released()
    if not versions:
        pytest.skip("no commit holds a template yet")
    for number, version in enumerate(versions):
        clone = tmp_path / f"template-{number}"
        helpers.git(helpers.ROOT, "clone", "--quiet", "--no-tags", ".", str(clone))
        helpers.git(clone, "checkout", "--quiet", version)
        helpers.git(clone, "tag", OLD)
        for path in clone.iterdir():
            if path.name != ".git":
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        helpers.copy_working_tree(clone)
        helpers.commit_all(clone, "now", NEW)
        made = helpers.copy_project(tmp_path / f"project-{number}", template=clone, ref=OLD)
        helpers.commit_all(made, "made from the template")
        helpers.update_project(made, ref=NEW)
        answers = stored_answers(made)
        given = {key: value for key, value in answers.items() if not key.startswith("_")}
        fresh = helpers.copy_project(tmp_path / f"fresh-{number}", template=clone, ref=NEW, **given)
        assert_same(made, fresh)


def released() -> list[str]:
    """Return the three newest tags and the last commit that has questions."""
    tags = helpers.git(helpers.ROOT, "tag", "--sort=-v:refname").split()[:3]
    versions = []
    for version in [*tags, "HEAD"]:
        try:
            helpers.git(helpers.ROOT, "cat-file", "-e", f"{version}:copier.yml")
        except RuntimeError:
            continue
        versions.append(helpers.git(helpers.ROOT, "rev-parse", version).strip())
    return list(dict.fromkeys(versions))


# ── Hooks: a changed requirements.txt means one installation, in the real project ──


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A template whose set-up scripts write their name and folder to a file, and that file."""
    folder = tmp_path_factory.mktemp("recording")
    record = folder / "calls.txt"

    def stub(template: Path) -> None:
        for name in ("setup_env.py", "doctor.py", "smoke_test.py.jinja"):
            (template / "template/scripts" / name).write_text(
                "from pathlib import Path\n"
                f"with open({str(record)!r}, 'a') as calls:\n"
                "    calls.write(f'{Path(__file__).name} {Path.cwd()}\\n')\n",
                "utf-8",
            )

    return two_versions(folder / "ml-template", stub), record


@pytest.mark.parametrize("installed", ["the old pins", "the new pins", "nothing"])
def test_an_update_installs_once_and_only_when_the_pins_changed(
    recording: tuple[Path, Path], tmp_path: Path, installed: str
) -> None:
    repository, record = recording
    record.write_text("", "utf-8")
    project = helpers.copy_project(tmp_path / "project", template=repository, ref=OLD)
    helpers.commit_all(project, "made from the template")
    pins = project
    if installed == "the new pins":
        pins = helpers.copy_project(tmp_path / "fresh", template=repository, ref=NEW)
    if installed != "nothing":
        digest = hashlib.sha256((pins / "requirements.txt").read_bytes()).hexdigest()
        (project / ".venv").mkdir()
        stamp = json.dumps({"requirements": digest})
        (project / ".venv/.ml-template-requirements").write_text(stamp, "utf-8")
    assert record.read_text("utf-8") == "", "hooks=off ran something"

    helpers.update_project(project, ref=NEW, hooks="all")
    calls = record.read_text("utf-8").splitlines()
    assert calls == ([f"setup_env.py {project}"] if installed == "the old pins" else [])


def test_generation_runs_each_step_once(recording: tuple[Path, Path], tmp_path: Path) -> None:
    """Only to show that the record above would hold what ran."""
    repository, record = recording
    record.write_text("", "utf-8")
    helpers.copy_project(tmp_path / "project", template=repository, ref=NEW, hooks="doctor")
    calls = record.read_text("utf-8").splitlines()
    assert calls == [f"{name}.py {tmp_path / 'project'}" for name in ("setup_env", "doctor")]


def stored_answers(project: Path) -> dict[str, Any]:
    answers = yaml.safe_load((project / ".copier-answers.yml").read_text("utf-8"))
    assert isinstance(answers, dict)
    return answers


def assert_same(project: Path, expected: Path) -> None:
    """Every file is there, with the same bytes, and no trace of a merge."""
    ours, theirs = contents(project), contents(expected)
    assert sorted(ours) == sorted(theirs)
    assert [name for name in theirs if ours[name] != theirs[name]] == []
    assert [name for name, content in ours.items() if b"<<<<<<< " in content] == []


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and ".git" not in path.relative_to(folder).parts
    }
