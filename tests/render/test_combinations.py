"""Every two choices are tested together or refused, and what is refused says what to do."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from copier.errors import UserMessageError

import combinations
import helpers

pytestmark = pytest.mark.render


def test_every_two_choices_meet_in_some_project() -> None:
    found = combinations.coverage()
    assert found.missing == set()
    assert found.met == found.pairs - found.refused
    assert len(combinations.covering()) <= 30, "a covering set this large makes the suite slow"


def test_the_numbers_are_printed() -> None:
    found = combinations.coverage()
    done = subprocess.run(
        [sys.executable, "tests/combinations.py"], cwd=helpers.ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert f"make {len(found.pairs)} pairs: {len(found.met)} meet in " in done.stdout
    assert f"{len(found.refused)} are refused, 0 are missing" in done.stdout
    assert f"of the {len(combinations.every_gpu())} answers to gpu" in done.stdout


def test_a_missing_pair_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    fewer = [row for row in combinations.covering() if row["environment"] != "conda"]
    monkeypatch.setattr(combinations, "covering", lambda: fewer)
    missing = combinations.coverage().missing
    assert ("task", '"llm"', "environment", '"conda"') in missing


@pytest.mark.parametrize(
    "pair",
    combinations.REFUSED,
    ids=lambda pair: "-".join(str(value) for _, value in sorted(pair)),
)
def test_what_is_left_out_is_refused_with_what_to_choose(
    tmp_path: Path, pair: frozenset[tuple[str, Any]]
) -> None:
    row = next(
        answers
        for answers in unmet() + combinations.whole_matrix()[1]
        if all(json.dumps(answers[key]) == json.dumps(value) for key, value in pair)
    )
    # Copier itself refuses a choice, and the template all other answers
    with pytest.raises((UserMessageError, ValueError), match=r"choose \w+"):
        helpers.copy_project(tmp_path / "project", **row)
    assert not (tmp_path / "project").exists()


def unmet() -> list[dict[str, Any]]:
    """Return answers that spread the work over GPUs which are not there, or cannot share it."""
    row = combinations.covering()[0]
    spread = [("none", "ddp"), ("none", "fsdp"), ("T4", "fsdp")]
    return [
        {**row, "gpu": gpu, "parallelism": way, "gpu_count": 2, "strategy": "full"}
        for gpu, way in spread
    ]


def test_the_parts_of_the_matrix_are_all_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = []
    for part in range(1, 9):
        monkeypatch.setenv("ML_TEMPLATE_MATRIX", f"{part}/8")
        parts += [combinations.name(row) for row in combinations.chosen_for_this_run()]
    assert sorted(parts) == sorted(map(combinations.name, combinations.whole_matrix()[0]))
    monkeypatch.setenv("ML_TEMPLATE_MATRIX", "9/8")
    with pytest.raises(ValueError, match="such as 2/8"):
        combinations.chosen_for_this_run()


def test_the_parts_of_the_covering_set_are_all_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = []
    for part in range(1, 7):
        monkeypatch.setenv("ML_TEMPLATE_SUITES", f"{part}/6")
        parts += combinations.covering_for_this_run()
    assert sorted(map(combinations.name, parts)) == sorted(
        map(combinations.name, combinations.covering())
    )


def test_in_the_matrix_every_other_choice_takes_its_turn() -> None:
    accepted, _ = combinations.whole_matrix()
    for key, values in combinations.factors().items():
        assert {json.dumps(row[key]) for row in accepted} >= set(values), key
