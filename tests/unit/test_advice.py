"""Recommendations come with reasons, and whatever cannot work comes with what can."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import helpers
from extensions import advice as advice_module
from extensions import context, machine

pytestmark = pytest.mark.unit

SMALL = "HuggingFaceTB/SmolLM2-135M-Instruct"
OFFERED = {"parallelism": ["single"]}


@pytest.fixture(scope="module")
def estimate() -> ModuleType:
    return context.load(context.ESTIMATE, package=True)


@pytest.fixture(autouse=True)
def forget_the_machine() -> None:
    machine.nvidia_gpus.cache_clear()


@pytest.fixture
def advise(estimate: ModuleType) -> Callable[..., advice_module.Advice]:
    recommended = advice_module.read_recommended(
        helpers.ROOT / "extensions" / "recommended_models.csv"
    )

    def make(offered: dict[str, list[str]] = OFFERED, **answers: Any) -> advice_module.Advice:
        return advice_module.Advice(answers, estimate, recommended, offered)

    return make


def test_the_gpu_of_this_machine_is_recommended(
    advise: Callable[..., advice_module.Advice], with_gpus: Callable[..., None]
) -> None:
    with_gpus("NVIDIA H100 80GB HBM3", "NVIDIA H100 80GB HBM3")
    assert advise().gpu.value == "H100"
    assert "2 x H100" in advise().gpu.reason


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
        ("Qwen/Qwen3-0.6B", "RTX 4090", "full", "23.6 GiB"),
        ("Qwen/Qwen3-8B", "RTX 4090", "lora", "23.6 GiB"),
        ("Qwen/Qwen3-8B", "B200", "full", "178.4 GiB"),
        ("Qwen/Qwen2.5-7B-Instruct", "RTX 4090", "lora", "7.6 B"),
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


def test_lora_on_random_weights_is_refused(advise: Callable[..., advice_module.Advice]) -> None:
    problem = advise(base_model="scratch", gpu="none").strategy_problem("lora")
    assert "choose full" in problem


def test_full_training_that_cannot_fit_is_refused(
    advise: Callable[..., advice_module.Advice],
) -> None:
    problem = advise(base_model="Qwen/Qwen3-8B", gpu="T4").strategy_problem("full")
    assert "choose lora" in problem
    assert "14.8 GiB" in problem
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


@pytest.mark.parametrize(("gpu", "count"), [("none", 2), ("H100", 2), ("H100", 0), ("none", -1)])
def test_a_number_of_gpus_that_cannot_be_used_is_refused(
    advise: Callable[..., advice_module.Advice], gpu: str, count: int
) -> None:
    assert "choose 1" in advise(gpu=gpu, gpu_count=count).gpu_count_problem


def test_several_gpus_are_accepted_once_a_way_to_use_them_is_offered(
    advise: Callable[..., advice_module.Advice],
) -> None:
    assert (
        advise({"parallelism": ["single", "ddp"]}, gpu="H100", gpu_count=8).gpu_count_problem == ""
    )


def test_a_budget_is_told_in_gpu_hours(advise: Callable[..., advice_module.Advice]) -> None:
    sentence = advise(gpu="H100", budget_usd=100.0).affordable
    assert sentence.startswith("100 USD buy about ")
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
    memory = estimate.training_memory(
        shape, strategy=answers["strategy"], precision=precision, **sizes.value
    )
    assert estimate.fits(memory, estimate.gpus()[gpu])
    assert "GiB" in sizes.reason


def test_every_recommendation_is_itself_accepted(
    advise: Callable[..., advice_module.Advice], estimate: ModuleType
) -> None:
    """Defaults are computed and must hold for every GPU, task and target."""
    for gpu in ["none", *estimate.gpus()]:
        for task in ("llm", "text_classification"):
            for target in ("cloud", "edge"):
                answers: dict[str, Any] = {"gpu": gpu, "task": task, "target": target}
                answers["gpu_count"] = advise(**answers).gpu_count.value
                answers["base_model"] = advise(**answers).base_model.value
                made = advise(**answers)
                assert not made.gpu_count_problem, answers
                assert not made.base_model_problem, answers
                assert not made.strategy_problem(made.strategy.value), answers


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


def test_recommended_models_are_presets_for_offered_tasks(
    advise: Callable[..., advice_module.Advice],
) -> None:
    recommended = advice_module.read_recommended(
        helpers.ROOT / "extensions" / "recommended_models.csv"
    )
    offered = helpers.offered("task")
    assert set(recommended) <= set(offered)
    for task, models in recommended.items():
        for model in models:
            assert advise(task=task, gpu="B200", base_model=model).strategy.value in (
                "full",
                "lora",
            )
            assert (
                "not known" not in advise(task=task, gpu="B200", base_model=model).strategy.reason
            )


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
