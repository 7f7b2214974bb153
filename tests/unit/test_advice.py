"""Recommendations come with reasons, and whatever cannot work comes with what can."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from itertools import product
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import advising
import helpers
from extensions import advice as advice_module
from extensions import machine

pytestmark = pytest.mark.unit

SMALL = "HuggingFaceTB/SmolLM2-135M-Instruct"
MAX_SECONDS = 0.050


def test_the_gpu_of_this_machine_is_recommended(
    advise: Callable[..., advice_module.Advice], with_gpus: Callable[..., None]
) -> None:
    with_gpus("NVIDIA H100 80GB HBM3", "NVIDIA H100 80GB HBM3")
    assert advise().gpu.value == "H100"
    assert "2 x H100" in advise().gpu.reason


def test_gpus_of_another_kind_are_not_counted(
    advise: Callable[..., advice_module.Advice], with_gpus: Callable[..., None]
) -> None:
    with_gpus("NVIDIA H100 80GB HBM3", "Tesla T4", "NVIDIA H100 80GB HBM3")
    assert "has 2 x H100 (79.1 GiB), and 1 of another kind." in advise().gpu.reason
    assert advise(gpu="H100").gpu_count.value == 2


def test_an_unlisted_gpu_is_named_and_none_recommended(
    advise: Callable[..., advice_module.Advice], with_gpus: Callable[..., None]
) -> None:
    with_gpus("Quadro P400")
    assert advise().gpu.value == "none"
    assert "Quadro P400" in advise().gpu.reason


@pytest.mark.usefixtures("no_gpu")
def test_without_a_driver_no_gpu_is_recommended(
    advise: Callable[..., advice_module.Advice],
) -> None:
    assert advise().gpu.value == "none"
    assert "No NVIDIA GPU answers" in advise().gpu.reason


def test_the_machine_is_asked_once(with_gpus: Callable[..., None]) -> None:
    with_gpus("Tesla T4")
    assert machine.nvidia_gpus() == ("Tesla T4",)
    with_gpus("NVIDIA L4")
    assert machine.nvidia_gpus() == ("Tesla T4",)


@pytest.mark.parametrize(
    ("task", "gpu", "model"),
    [
        ("llm", "none", SMALL),
        ("llm", "T4", "Qwen/Qwen3-4B"),
        ("llm", "H100", "Qwen/Qwen3-8B"),
        ("text_classification", "none", "distilbert/distilbert-base-uncased"),
        ("text_classification", "T4", "answerdotai/ModernBERT-base"),
    ],
)
def test_the_model_grows_with_the_gpu(
    advise: Callable[..., advice_module.Advice], task: str, gpu: str, model: str
) -> None:
    recommendation = advise(task=task, gpu=gpu, target="cloud").base_model
    assert recommendation.value == model
    assert "parameters" in recommendation.reason


def test_a_small_device_gets_a_small_model(advise: Callable[..., advice_module.Advice]) -> None:
    assert advise(task="llm", gpu="H100", target="mobile").base_model.value == SMALL


@pytest.mark.parametrize(
    ("model", "gpu", "strategy", "number"),
    [
        (SMALL, "none", "full", "GiB"),
        ("Qwen/Qwen3-8B", "none", "lora", "GiB"),
        ("Qwen/Qwen3-0.6B", "RTX 4090", "full", "has 23.6"),
        ("Qwen/Qwen3-4B", "H100", "full", "4.0 B"),
        ("Qwen/Qwen3-4B", "RTX 4090", "lora", "has 23.6"),
        ("Qwen/Qwen3-8B", "RTX 4090", "qlora", "has 23.6"),
        ("Qwen/Qwen3-8B", "L4", "lora", "has 22.0"),
        ("Qwen/Qwen3-8B", "T4", "qlora", "has 14.8"),
        ("Qwen/Qwen3-8B", "B200", "lora", "has 178.4"),
        ("Qwen/Qwen2.5-7B-Instruct", "A100-40GB", "lora", "7.6 B"),
        ("Qwen/Qwen2.5-14B", "H100", "lora", "14.8 B"),
        ("unknown/model", "H100", "lora", "not known"),
        ("scratch", "H100", "full", "Random"),
    ],
)
def test_the_strategy_follows_from_size_and_memory(
    advise: Callable[..., advice_module.Advice], model: str, gpu: str, strategy: str, number: str
) -> None:
    recommendation = advise(base_model=model, gpu=gpu, task="llm").strategy
    assert recommendation.value == strategy
    assert number in recommendation.reason


def test_a_local_model_is_measured_by_its_configuration(
    advise: Callable[..., advice_module.Advice], tmp_path: Path
) -> None:
    config = {
        "model_type": "llama",
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "vocab_size": 1000,
        "tie_word_embeddings": True,
    }
    (tmp_path / "config.json").write_text(json.dumps(config), "utf-8")
    assert advise(base_model=str(tmp_path), gpu="T4", task="llm").strategy.value == "full"
    (tmp_path / "config.json").write_text("{broken", "utf-8")
    assert "not known" in advise(base_model=str(tmp_path), gpu="T4", task="llm").strategy.reason


@pytest.mark.parametrize(
    ("model", "strategy"),
    [("my-org/chat-0.5B", "full"), ("my-org/chat-13B-it", "lora"), ("my-org/chat-40b", "qlora")],
)
def test_a_size_in_a_name_is_advised_on_but_refuses_nothing(
    advise: Callable[..., advice_module.Advice], model: str, strategy: str
) -> None:
    made = advise(base_model=model, gpu="A100-80GB", task="llm")
    assert made.strategy.value == strategy
    assert "by the name" in made.strategy.reason
    too_large = advise(base_model="my-org/chat-400B", gpu="T4", task="llm")
    assert too_large.base_model_problem == too_large.strategy_problem("full") == ""


@pytest.mark.parametrize("model", ["my-org/8x7B", "my-org/v2.5", "my-org/4bit", "org/1B-of-2B"])
def test_a_name_without_one_plain_size_tells_nothing(
    advise: Callable[..., advice_module.Advice], model: str
) -> None:
    assert "not known" in advise(base_model=model, gpu="L4", task="llm").strategy.reason


def test_lora_on_random_weights_is_refused(advise: Callable[..., advice_module.Advice]) -> None:
    problem = advise(base_model="scratch", gpu="none").strategy_problem("lora")
    assert "choose full" in problem


def test_full_training_that_cannot_fit_is_refused(
    advise: Callable[..., advice_module.Advice],
) -> None:
    problem = advise(base_model="Qwen/Qwen3-8B", gpu="T4").strategy_problem("full")
    assert "choose qlora" in problem
    assert "14.8 GiB" in problem
    assert "choose lora" in advise(base_model="Qwen/Qwen3-4B", gpu="T4").strategy_problem("full")
    assert advise(base_model="Qwen/Qwen3-8B", gpu="B200").strategy_problem("full") == ""


def test_a_model_that_no_strategy_fits_is_refused_and_the_largest_that_fits_named(
    advise: Callable[..., advice_module.Advice],
) -> None:
    problem = advise(task="llm", base_model="Qwen/Qwen3-32B", gpu="T4").base_model_problem
    nearest = problem.split("choose ")[1].split(" or ")[0]
    assert advise(task="llm", base_model=nearest, gpu="T4").base_model_problem == ""
    assert "larger GPU" in problem


def test_a_model_that_cannot_write_is_refused_for_a_language_model(
    advise: Callable[..., advice_module.Advice],
) -> None:
    bert = "google-bert/bert-base-uncased"
    assert SMALL in advise(task="llm", base_model=bert, gpu="none").base_model_problem
    assert advise(task="text_classification", base_model=bert, gpu="none").base_model_problem == ""


@pytest.mark.parametrize(("gpu", "count"), [("none", 2), ("H100", 0), ("none", -1)])
def test_a_number_of_gpus_that_cannot_be_used_is_refused(
    advise: Callable[..., advice_module.Advice], gpu: str, count: int
) -> None:
    assert "choose 1" in advise(gpu=gpu, gpu_count=count).gpu_count_problem


def test_several_gpus_are_accepted_where_a_way_to_use_them_is_offered(
    advise: Callable[..., advice_module.Advice],
) -> None:
    only_one = {**advising.OFFERED, "parallelism": ["single"]}
    assert advise(gpu="H100", gpu_count=8).gpu_count_problem == ""
    assert "choose 1" in advise(only_one, gpu="H100", gpu_count=8).gpu_count_problem


def test_a_budget_is_told_in_gpu_hours(advise: Callable[..., advice_module.Advice]) -> None:
    sentence = advise(gpu="H100", budget_usd=100.0).affordable
    assert re.fullmatch(
        r"100 USD buy about \d+ hours of one H100 \(\d\.\d\d USD an hour at .*\)\.", sentence
    )
    assert advise(gpu="none", budget_usd=100.0).affordable == ""
    assert advise(gpu="H100", budget_usd=0.0).affordable == ""


@pytest.mark.parametrize(("gpu", "task"), [("T4", "llm"), ("H100", "llm"), ("RTX 4090", "llm")])
def test_recommended_sizes_fit_the_gpu(
    advise: Callable[..., advice_module.Advice], estimate: ModuleType, gpu: str, task: str
) -> None:
    answers: dict[str, Any] = {"gpu": gpu, "task": task}
    answers["base_model"] = advise(**answers).base_model.value
    answers["strategy"] = advise(**answers).strategy.value
    sizes = advise(**answers).sizes
    shape = estimate.find_model(answers["base_model"])
    precision = "bf16" if estimate.gpus()[gpu].bf16_tflops else "fp16"
    values = dict(sizes.value)
    accumulation = values.pop("global_batch_size") // values["micro_batch_size"]
    training = estimate.Training(
        strategy=answers["strategy"],
        precision=precision,
        accumulation=accumulation,
        padded=True,
        lora_dropout=0.05,
        **values,
    )
    memory = estimate.training_memory(shape, training)
    assert estimate.fits(memory, estimate.gpus()[gpu])
    assert "GiB" in sizes.reason


@pytest.mark.parametrize("task", helpers.offered("task"))
def test_without_a_gpu_the_defaults_fit_an_ordinary_machine(
    advise: Callable[..., advice_module.Advice], task: str
) -> None:
    answers: dict[str, Any] = {"gpu": "none", "task": task}
    for key in ("base_model", "strategy"):
        answers[key] = getattr(advise(**answers), key).value
    needed = re.search(r"needs about (\d+\.\d) GiB", advise(**answers).sizes.reason)
    assert needed, task
    assert float(needed[1]) <= 12


def test_every_recommendation_is_itself_accepted(
    advise: Callable[..., advice_module.Advice], estimate: ModuleType
) -> None:
    """Defaults are computed and must hold for every GPU, task and target."""
    places = product(["none", *estimate.gpus()], helpers.offered("task"), ("cloud", "edge"), (1, 8))
    for gpu, task, target, count in places:
        answers: dict[str, Any] = {"gpu": gpu, "task": task, "target": target}
        answers["gpu_count"] = count if gpu != "none" else advise(**answers).gpu_count.value
        for key in ("base_model", "strategy", "parallelism"):
            answers[key] = getattr(advise(**answers), key).value
        made = advise(**answers)
        assert not made.gpu_count_problem, answers
        assert not made.base_model_problem, answers
        assert not made.strategy_problem(answers["strategy"]), answers
        assert not made.parallelism_problem(answers["parallelism"]), answers


def test_every_preset_has_a_valid_strategy_or_is_refused(
    advise: Callable[..., advice_module.Advice], estimate: ModuleType
) -> None:
    for gpu in ["none", *estimate.gpus()]:
        for model, shape in estimate.models().items():
            task = "llm" if shape.kind == "decoder" else "text_classification"
            answers: dict[str, Any] = {"gpu": gpu, "task": task, "base_model": model}
            made = advise(**answers)
            if not made.base_model_problem:
                assert not made.strategy_problem(made.strategy.value), answers
                answers["strategy"] = made.strategy.value
                assert advise(**answers).sizes.value["micro_batch_size"] >= 1


def test_recommended_models_are_presets_for_offered_tasks(
    advise: Callable[..., advice_module.Advice],
) -> None:
    recommended = advising.recommended()
    offered = helpers.offered("task")
    assert set(recommended) <= set(offered)
    for task, models in recommended.items():
        for model in models:
            advised = advise(task=task, gpu="B200", base_model=model).strategy
            assert advised.value in ("full", "lora")
            assert "not known" not in advised.reason, model


def test_nothing_is_needed_before_the_first_answer(
    advise: Callable[..., advice_module.Advice], with_gpus: Callable[..., None]
) -> None:
    with_gpus("Tesla T4")
    nothing = advise()
    assert nothing.gpu_count.value == 1
    assert nothing.base_model.value == "scratch"
    assert nothing.strategy.value == "lora"
    assert nothing.base_model_problem == nothing.gpu_count_problem == ""
    assert nothing.strategy_problem("full") == ""
