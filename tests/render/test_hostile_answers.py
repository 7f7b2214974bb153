"""Hostile answers to all questions: refused in one sentence, or harmless in every file.

Hypothesis makes SETS sets of answers, the same ones in each run. The questions and the templates
are the real ones, asked and rendered in this process; test_hostile_projects.py does the same with
whole projects. `python benchmarks/hostile_input.py` makes other sets, by another seed.
"""

from __future__ import annotations

import collections
import itertools
import os
from typing import Any

import pytest
from copier.errors import UserMessageError
from hypothesis import given

import helpers
import hostile_answers
from answers_in_process import Questionnaire
from hostile_checks import Examination, answers_of, assert_sentence, hostile, parsed_once

SETS = int(os.environ.get("HOSTILE_SETS", "1000"))

pytestmark = pytest.mark.render


@pytest.fixture(scope="module")
def questionnaire(tmp_path_factory: pytest.TempPathFactory) -> Questionnaire:
    return Questionnaire(helpers.snapshot(), tmp_path_factory.mktemp("none") / "ticket-router")


def test_hostile_answers_are_refused_in_a_sentence_or_harmless(
    questionnaire: Questionnaire,
) -> None:
    examination = Examination(questionnaire)
    hostile(SETS)(given(hostile_answers.answer_sets())(examination.of))()
    counts = examination.counts
    print(dict(counts), dict(examination.refused))
    assert counts["sets"] >= SETS and counts["values refused"] > SETS
    if SETS >= 1000:
        assert set(examination.refused) == set(helpers.questions()), "a question never refused"


def test_a_wrong_type_at_any_question_is_refused_in_a_sentence_or_taken(
    questionnaire: Questionnaire,
) -> None:
    refused = 0
    for key, value in itertools.product(helpers.questions(), hostile_answers.WRONG_TYPES):
        answers = {**helpers.ANSWERS, key: value}
        for given_, last in ((answers, None), ({}, answers)):  # typed, or found in a file
            try:
                questionnaire.ask(given_, last=last)
            except UserMessageError as error:
                assert_sentence(error.message, answers)
                refused += 1
    assert refused


def test_an_answers_file_edited_by_hand_gives_valid_answers(questionnaire: Questionnaire) -> None:
    """As recopy and update read it: keys missing, unknown, of a wrong type, or hostile."""
    outcomes: collections.Counter[str] = collections.Counter()

    def check(stored: dict[str, Any]) -> None:
        try:
            worker = questionnaire.ask({}, last=stored)
        except UserMessageError as error:
            assert_sentence(error.message, stored)
            outcomes["refused"] += 1
            return
        answers = answers_of(worker.answers.combined)
        assert answers.keys() == helpers.questions().keys()
        questionnaire.ask(answers)  # refuses nothing of what was made of it
        for path, text in questionnaire.files(worker).items():
            parsed_once(path, text)
        outcomes["mended" if answers != answers_of(stored) else "kept"] += 1

    hostile(SETS // 4)(given(hostile_answers.edited_answers_files())(check))()
    print(dict(outcomes))
    assert outcomes["refused"] and outcomes["mended"], outcomes
