"""What people come with, and the defaults that an experienced engineer would accept for it.

Each scenario is answered in the order of the questions, taking what is recommended wherever
nothing was given, as a person does who presses Enter.
"""

from __future__ import annotations

import re
from typing import Any

import pytest

import advising
from extensions import advice as advice_module
from scenarios import SCENARIOS, Scenario

pytestmark = pytest.mark.unit

ORDER = ("gpu", "gpu_count", "base_model", "strategy", "parallelism", "platform", "serving")


def decide(
    scenario: Scenario,
) -> tuple[dict[str, Any], dict[str, advice_module.Recommendation], advice_module.Advice]:
    """Return the answers, what was recommended on the way, and the advice for all answers."""
    answers = dict(scenario.given)

    def advise() -> advice_module.Advice:
        return advising.advise(detected=lambda: scenario.gpus, **answers)

    told = {}
    for key in ORDER:
        told[key] = getattr(advise(), key)
        answers.setdefault(key, told[key].value)
    return answers, told, advise()


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_the_defaults_are_those_of_an_experienced_engineer(scenario: Scenario) -> None:
    answers, told, final = decide(scenario)
    settled = {
        **answers,
        **final.sizes.value,
        "precision": final.precision.value,
        "learning_rate": final.learning_rate.value,
    }
    assert {key: settled[key] for key in scenario.expected} == scenario.expected
    for key, words in scenario.says.items():
        assert words in told[key].reason
    if scenario.needs_gib:
        low, high = scenario.needs_gib
        assert low <= first_gib(told["strategy"].reason) <= high, told["strategy"].reason


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_the_defaults_are_accepted_fit_and_are_reasoned(scenario: Scenario) -> None:
    answers, told, final = decide(scenario)
    assert not final.gpu_count_problem
    assert not final.base_model_problem
    assert not final.strategy_problem(answers["strategy"])
    assert not final.parallelism_problem(answers["parallelism"])
    for key, recommendation in told.items():
        assert recommendation.reason, key
        for value, sentence in recommendation.rejected:
            assert value != recommendation.value, key
            assert sentence[-1] == ".", sentence
    if answers["gpu"] != "none":
        needed = first_gib(final.sizes.reason)
        assert needed <= advising.estimate().gpus()[answers["gpu"]].memory_gib
    per_pass = final.sizes.value["micro_batch_size"] * answers["gpu_count"]
    assert final.sizes.value["global_batch_size"] % per_pass == 0


def test_what_was_rejected_is_told_with_numbers() -> None:
    by_name = {scenario.name: scenario for scenario in SCENARIOS}
    _, told, _ = decide(by_name["8 B with LoRA on an L4"])
    rejected = dict(told["strategy"].rejected)
    assert first_gib(rejected["full"]) > 100
    assert first_gib(rejected["qlora"]) < 15
    cluster = next(scenario for scenario in SCENARIOS if "70 B" in scenario.name)
    _, told, _ = decide(cluster)
    sentence = dict(told["strategy"].rejected)["qlora"]
    assert re.search(r"fits with ddp \(\d.* GiB a GPU; .* minutes, not .*\), but", sentence)
    assert first_gib(dict(told["parallelism"].rejected)["ddp"]) > 79


def test_full_training_of_1_b_on_a_t4_is_refused_with_what_works() -> None:
    scenario = next(scenario for scenario in SCENARIOS if "T4" in scenario.name)
    _, _, final = decide(scenario)
    problem = final.strategy_problem("full")
    assert problem.startswith("full training needs ") and problem.endswith("choose lora")
    assert first_gib(problem) > 15


def first_gib(text: str) -> float:
    found = re.search(r"(\d+(?:\.\d+)?) GiB", text)
    assert found, f"no memory in: {text}"
    return float(found[1])
