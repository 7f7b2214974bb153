"""Projects of every released version, edited by their users, become the newest version."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from copier.errors import UserMessageError

import edits
import helpers
import releases
import updating

pytestmark = pytest.mark.update


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> updating.Workshop:
    """Return the template with all its versions, and the projects rendered so far."""
    folder = tmp_path_factory.mktemp("workshop")
    return updating.Workshop(folder, releases.repository(folder / "ml-template"))


@pytest.mark.parametrize(
    ("scenario", "command"),
    [(one, number >= len(edits.EDITS)) for number, one in enumerate(updating.sample())],
    ids=lambda value: (
        str(value) if isinstance(value, updating.Scenario) else ("copier", "make")[value]
    ),
)
def test_an_update_is_the_merge_of_the_users_edits_and_the_new_version(
    workshop: updating.Workshop, scenario: updating.Scenario, command: bool, tmp_path: Path
) -> None:
    outcome = updating.play(workshop, scenario, tmp_path, command=command)
    assert (outcome.wrong, outcome.expected.apart) == ((), ())


@pytest.mark.parametrize("version", releases.released())
def test_make_update_names_edited_files_that_another_answer_removes(
    workshop: updating.Workshop, version: str, tmp_path: Path
) -> None:
    scenario = updating.Scenario(version, "text", "settings", "no serving")
    outcome = updating.play(workshop, scenario, tmp_path, command=True)
    assert outcome.wrong == ()
    assert outcome.expected.removed_with_edits == ("configs/serve.yaml",)


@pytest.mark.parametrize("more", range(4))
def test_the_sample_holds_every_version_edit_change_and_set_of_answers(
    more: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    versions = releases.released() | {f"1.{number}.0": "a later one" for number in range(more)}
    monkeypatch.setattr(releases, "released", lambda: versions)
    sample = updating.sample()
    assert {one.version for one in sample} == set(versions)
    assert {one.edit for one in sample} == set(edits.EDITS)
    assert {one.change for one in sample} == set(updating.CHANGES)
    assert {one.answers for one in sample} == set(updating.ANSWER_SETS)


def test_the_published_scenarios_ended_as_they_should() -> None:
    (newest,) = sorted(helpers.ROOT.glob("benchmarks/results/updates-20*.md"))[-1:]
    said = re.search(
        r"\*\*(\d+) scenarios, (\d+) as they should be, (\d+) not; (\d+) with a conflict apart",
        newest.read_text("utf-8"),
    )
    assert said, f"{newest.name} is not what benchmarks/updates.py writes"
    played, right, wrong, apart = map(int, said.groups())
    assert played >= 200 and (right, wrong, apart) == (played, 0, 0)


def test_answers_that_somebody_edited_are_refused_or_completed(
    workshop: updating.Workshop, tmp_path: Path
) -> None:
    scenario = updating.Scenario(list(releases.released())[-1], "text", "nothing")
    project = workshop.project(scenario, tmp_path / "project")
    answers = project / updating.ANSWERS_FILE
    before = answers.read_text("utf-8")

    answers.write_text(before.replace("task: text_classification", "task: text"), "utf-8")
    helpers.commit_all(project, "a wrong answer")
    with pytest.raises(
        UserMessageError, match=r"task=text: '?text'? is not offered; choose llm or"
    ):
        helpers.update_project(project)
    assert helpers.git(project, "status", "--porcelain") == ""

    answers.write_text(before.replace("strategy: full\n", "") + "no_question: 1\n", "utf-8")
    helpers.commit_all(project, "an answer less, and one to no question")
    helpers.update_project(project)
    after = updating.answers_of(project)
    assert after["strategy"] == "full" and "no_question" not in after
