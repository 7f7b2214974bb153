"""Numbers of the configuration that follow from the answers, and what training would say."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import product
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import advising
from extensions import advice as advice_module
from extensions import machine
from extensions.rules import facts as facts_module

pytestmark = pytest.mark.unit

SMALL = "HuggingFaceTB/SmolLM2-135M-Instruct"
MAX_SECONDS = 0.050


@pytest.mark.parametrize(
    ("gpu", "precision"), [("none", "fp32"), ("T4", "fp16"), ("V100-32GB", "fp16"), ("L4", "bf16")]
)
def test_there_is_no_bf16_before_ampere(
    advise: Callable[..., advice_module.Advice], gpu: str, precision: str
) -> None:
    advised = advise(gpu=gpu).precision
    assert advised.value == precision
    assert precision not in dict(advised.rejected)


def test_an_encoder_is_not_given_more_positions_than_it_has(
    advise: Callable[..., advice_module.Advice],
) -> None:
    answers = {"task": "text_classification", "gpu": "H100", "data_facts": {"p95_tokens": 3000}}
    bert = advise(**answers, base_model="google-bert/bert-base-uncased", strategy="full")
    assert bert.sizes.value["max_seq_len"] == 512
    modern = advise(**answers, base_model="answerdotai/ModernBERT-base", strategy="full")
    assert modern.sizes.value["max_seq_len"] == 3904


def test_what_is_accepted_is_what_training_would_start(
    advise: Callable[..., advice_module.Advice], estimate: ModuleType
) -> None:
    """No answers pass the questions for which the trainer refuses the sizes it is given."""
    models = {
        "llm": ("Qwen/Qwen2.5-7B", "Qwen/Qwen2.5-14B", "meta-llama/Llama-3.2-1B"),
        "multimodal": ("llava-hf/llava-1.5-7b-hf", "Qwen/Qwen2.5-VL-3B-Instruct"),
        "audio_classification": ("openai/whisper-large-v3", "facebook/wav2vec2-base"),
    }
    machines = (("T4", 1, "single"), ("RTX 5090", 4, "fsdp"), ("RTX 3090", 2, "ddp"))
    accepted = 0
    for (task, names), place, strategy in product(
        models.items(), machines, advising.OFFERED["strategy"]
    ):
        for model in names:
            answers = dict(zip(("gpu", "gpu_count", "parallelism"), place, strict=True))
            made = advise(task=task, base_model=model, strategy=strategy, **answers)
            spread = str(answers["parallelism"])
            problems = (made.base_model_problem, made.strategy_problem(strategy))
            if any(problems) or made.parallelism_problem(spread):
                continue
            facts = made._facts
            plan = facts_module.Plan(strategy, spread)
            chosen = facts_module.Sizes(**made.sizes.value)
            assert facts.fits(facts.memory(facts.shape, plan, chosen)), (model, place, strategy)
            accepted += 1
    assert accepted > 20


def test_more_gpus_than_the_estimate_knows_are_refused(
    advise: Callable[..., advice_module.Advice],
) -> None:
    assert "choose 1024" in advise(task="llm", gpu="H100", gpu_count=10**12).gpu_count_problem
    assert not advise(task="llm", gpu="H100", gpu_count=1024).gpu_count_problem


@pytest.mark.parametrize("text", ["{no", "[]", "[" * 100_000, '{"a": ' + "9" * 5000 + "}"])
def test_a_local_model_that_nothing_can_load_is_refused(
    advise: Callable[..., advice_module.Advice], tmp_path: Path, text: str
) -> None:
    (tmp_path / "config.json").write_text(text)
    made = advise(base_model=str(tmp_path), gpu="L4", task="llm")
    assert made.base_model_problem.startswith("its config.json is n")
    assert f"choose {SMALL}" in made.base_model_problem


def test_the_field_that_hides_the_size_of_a_local_model_is_named(
    advise: Callable[..., advice_module.Advice], tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    made = advise(base_model=str(tmp_path), gpu="L4", task="llm")
    assert not made.base_model_problem
    assert "(config.json: hidden_size is missing)" in made.strategy.reason


@pytest.mark.parametrize(
    ("task", "model", "rate"),
    [
        ("text_classification", "distilbert/distilbert-base-uncased", "5e-5"),
        ("text_classification", "microsoft/deberta-v3-large", "2e-5"),
        ("text_classification", "Qwen/Qwen3-4B", "1e-5"),
        ("image_classification", "google/vit-huge-patch14-224-in21k", "2e-5"),
        ("audio_classification", "facebook/wav2vec2-base", "3e-5"),
        ("audio_classification", "openai/whisper-large-v3", "1e-5"),
    ],
)
def test_the_full_learning_rate_falls_with_the_size_of_the_model(
    advise: Callable[..., advice_module.Advice], task: str, model: str, rate: str
) -> None:
    made = advise(task=task, base_model=model, gpu="B200", strategy="full")
    assert made.learning_rate.value == rate


def test_sizes_for_sounds_of_any_length_say_which(
    advise: Callable[..., advice_module.Advice],
) -> None:
    answers = {"task": "audio_classification", "gpu": "T4", "strategy": "full"}
    made = advise(**answers, base_model="facebook/wav2vec2-base")
    assert "for 10 seconds of sound" in made.sizes.reason
    assert "499 tokens" in made.prediction


def test_all_advice_takes_less_than_50_ms_of_processor(
    advise: Callable[..., advice_module.Advice], estimate: ModuleType, no_gpu: None
) -> None:
    assert machine.nvidia_gpus() == ()  # asked once a process, and not what is measured
    attributes = [name for name in dir(advice_module.Advice) if not name.startswith("_")]

    def seconds(answers: dict[str, Any]) -> float:
        made = advise(**answers)
        started = time.process_time()
        for name in attributes:
            value = getattr(made, name)
            if callable(value):
                for choice in (*advising.OFFERED["strategy"], *advising.OFFERED["parallelism"]):
                    value(choice)
        return time.process_time() - started

    slowest = {"task": "llm", "budget_usd": 20.0, "base_model": "meta-llama/Llama-3.1-70B"}
    cases: list[dict[str, Any]] = [
        {"task": "llm", "budget_usd": 5.0},
        slowest,
        {**slowest, "gpu": "RTX 4090", "gpu_count": 8},
        {"task": "llm", "gpu": "H100", "gpu_count": 64, "base_model": "Qwen/Qwen3-32B"},
        {"task": "llm", "gpu": "L4", "base_model": "my-org/chat-13B"},
        {"task": "multimodal", "gpu": "T4", "base_model": "Qwen/Qwen2.5-VL-7B-Instruct"},
    ]
    for answers in cases:
        assert min(seconds(answers) for _ in range(3)) < MAX_SECONDS, answers
