"""Advice on several GPUs, on budgets and platforms, and on what the folder already holds."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from types import ModuleType
from typing import Any

import pytest

import advising
from extensions import advice as advice_module
from extensions.findings import DataFile, Found

pytestmark = pytest.mark.unit


# ── Several GPUs ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("model", "gpu", "count", "strategy", "parallelism"),
    [
        ("Qwen/Qwen3-0.6B", "L4", 4, "full", "ddp"),
        ("Qwen/Qwen3-4B", "L4", 4, "lora", "ddp"),
        ("Qwen/Qwen3-4B", "A100-40GB", 8, "full", "fsdp"),
        ("Qwen/Qwen3-8B", "H100", 2, "lora", "ddp"),
        ("Qwen/Qwen2.5-14B", "RTX 4090", 2, "qlora", "ddp"),
        ("Qwen/Qwen2.5-32B", "A100-80GB", 4, "lora", "fsdp"),
        ("Qwen/Qwen3-0.6B", "T4", 1, "full", "single"),
        # no bf16, without which the trainer does not shard
        ("Qwen/Qwen2.5-3B", "V100-32GB", 4, "lora", "ddp"),
        ("Qwen/Qwen3-4B", "T4", 8, "lora", "ddp"),
    ],
)
def test_the_work_is_spread_as_memory_and_links_allow(
    advise: Callable[..., advice_module.Advice],
    model: str,
    gpu: str,
    count: int,
    strategy: str,
    parallelism: str,
) -> None:
    answers = {"task": "llm", "base_model": model, "gpu": gpu, "gpu_count": count}
    assert advise(**answers).strategy.value == strategy
    assert advise(**answers, strategy=strategy).parallelism.value == parallelism


@pytest.mark.parametrize(
    ("answers", "parallelism", "remedy"),
    [
        ({"gpu": "none"}, "ddp", "choose single"),
        ({"gpu": "H100", "gpu_count": 1}, "fsdp", "choose single"),
        ({"gpu": "H100", "gpu_count": 4, "strategy": "lora"}, "single", "choose ddp"),
        ({"gpu": "H100", "gpu_count": 4, "strategy": "qlora"}, "fsdp", "choose ddp"),
        (
            {
                "gpu": "H100",
                "gpu_count": 8,
                "strategy": "lora",
                "base_model": "meta-llama/Llama-3.1-70B",
            },
            "ddp",
            "choose fsdp",
        ),
        (
            {
                "gpu": "V100-32GB",
                "gpu_count": 4,
                "strategy": "lora",
                "base_model": "Qwen/Qwen2.5-3B",
            },
            "fsdp",
            "choose ddp",
        ),
    ],
)
def test_a_way_to_spread_the_work_that_cannot_work_is_refused(
    advise: Callable[..., advice_module.Advice],
    answers: dict[str, Any],
    parallelism: str,
    remedy: str,
) -> None:
    problem = advise(**answers).parallelism_problem(parallelism)
    assert remedy in problem
    assert advise(**answers).parallelism_problem(remedy.removeprefix("choose ")) == ""


def test_no_weights_are_shared_where_the_gpu_has_no_bf16(
    advise: Callable[..., advice_module.Advice],
) -> None:
    old = [name for name, gpu in advising.estimate().gpus().items() if not gpu.bf16_tflops]
    assert {"T4", "V100-32GB"} <= set(old)
    for gpu in old:
        for model in ("Qwen/Qwen3-4B", "meta-llama/Llama-3.1-8B", "meta-llama/Llama-3.1-70B"):
            answers = {"task": "llm", "gpu": gpu, "gpu_count": 4, "base_model": model}
            for strategy in advising.OFFERED["strategy"]:
                made = advise(**answers, strategy=strategy)
                assert made.parallelism.value == "ddp", (answers, strategy)
                assert made.parallelism_problem("fsdp").endswith("choose ddp")
                assert "choose fsdp" not in made.parallelism_problem("ddp")
    small = "meta-llama/Llama-3.2-3B"
    whole = {"gpu": "V100-32GB", "gpu_count": 4, "base_model": small, "task": "llm"}
    made = advise(**whole, strategy="full")
    assert "choose the strategy lora" in made.parallelism_problem("ddp")
    assert "choose lora" in made.strategy_problem("full")
    refused = advise(**{**whole, "base_model": "meta-llama/Llama-3.1-70B"}).base_model_problem
    assert "a larger GPU" in refused


def test_the_batch_divides_among_the_gpus(advise: Callable[..., advice_module.Advice]) -> None:
    for count in (1, 2, 3, 5, 6, 8, 16, 64):
        answers = {"task": "llm", "gpu": "H100", "gpu_count": count, "base_model": "Qwen/Qwen3-8B"}
        sizes = advise(**answers, strategy="lora", parallelism="ddp").sizes.value
        assert sizes["global_batch_size"] % (sizes["micro_batch_size"] * count) == 0


def test_as_many_gpus_are_proposed_as_a_given_model_needs(
    advise: Callable[..., advice_module.Advice], no_gpu: None
) -> None:
    given = {"task": "llm", "gpu": "A100-80GB", "base_model": "meta-llama/Llama-3.1-70B"}
    count = advise(**given).gpu_count.value
    assert count in (1, 2, 4)
    assert advise(**given, gpu_count=count).base_model_problem == ""


# ── Budgets and places ───────────────────────────────────────────────────────────────────────────


@pytest.mark.usefixtures("no_gpu")
@pytest.mark.parametrize("budget_usd", [0.5, 5.0, 20.0, 500.0])
def test_a_budget_rents_a_gpu_and_the_run_stays_within(
    advise: Callable[..., advice_module.Advice], budget_usd: float
) -> None:
    answers: dict[str, Any] = {"task": "llm", "budget_usd": budget_usd}
    rented = advise(**answers).gpu
    assert rented.value != "none"
    assert f"{budget_usd:g} USD buy about" in rented.reason
    usd = re.search(r"and (?:.* to )?(\d+(?:\.\d+)?) USD for", rented.reason)
    assert usd and float(usd[1]) <= budget_usd
    answers["gpu"] = rented.value
    assert advise(**answers).base_model.value.split("/")[1] in rented.reason


@pytest.mark.usefixtures("no_gpu")
def test_more_money_never_buys_a_smaller_model(
    advise: Callable[..., advice_module.Advice], estimate: ModuleType
) -> None:
    sizes = []
    for budget_usd in (0.2, 0.5, 1.0, 3.0, 10.0, 100.0):
        answers: dict[str, Any] = {"task": "llm", "budget_usd": budget_usd}
        answers["gpu"] = advise(**answers).gpu.value
        sizes.append(estimate.find_model(advise(**answers).base_model.value).params)
    assert sizes == sorted(sizes)


@pytest.mark.usefixtures("no_gpu")
def test_a_budget_that_buys_no_run_is_told(advise: Callable[..., advice_module.Advice]) -> None:
    reason = advise(task="llm", budget_usd=1.0, base_model="meta-llama/Llama-3.1-70B").gpu.reason
    assert "the cheapest to rent" in reason


@pytest.mark.usefixtures("no_gpu")
def test_sensitive_data_rents_nothing(advise: Callable[..., advice_module.Advice]) -> None:
    made = advise(task="llm", budget_usd=1000.0, sensitive_data=True, gpu="H100")
    assert made.gpu.value == "none"
    assert made.platform.value == "local"
    assert "stays on your own machines" in made.platform.reason


@pytest.mark.usefixtures("no_gpu")
@pytest.mark.parametrize(
    ("answers", "platform"),
    [
        ({"gpu": "none"}, "local"),
        ({"gpu": "L4"}, "modal"),
        ({"gpu": "H100", "data_facts": {"rows": 5_000_000, "mean_tokens": 900}}, "lambda_labs"),
        ({"gpu": "H100", "budget_usd": 20_000.0}, "sagemaker"),
        ({"gpu": "H100", "budget_usd": 20_000.0, "sensitive_data": True}, "local"),
    ],
)
def test_the_platform_follows_from_data_length_and_budget(
    advise: Callable[..., advice_module.Advice], answers: dict[str, Any], platform: str
) -> None:
    given = {"task": "llm", "base_model": "Qwen/Qwen3-8B", **answers}
    everywhere = {**advising.OFFERED, "platform": ["local", "modal", "lambda_labs", "sagemaker"]}
    advised = advise(everywhere, **given).platform
    assert advised.value == platform
    assert platform not in dict(advised.rejected)
    fallback = advise(**given).platform
    assert fallback.value == "local"
    assert ("writes no files" in fallback.reason) == (platform != "local")


def test_your_own_gpu_is_used_where_it_is(
    advise: Callable[..., advice_module.Advice], with_gpus: Callable[..., None]
) -> None:
    with_gpus("NVIDIA L4", "NVIDIA L4")
    made = advise(task="llm", gpu="L4", base_model="Qwen/Qwen3-8B", budget_usd=50.0)
    assert made.gpu.value == "L4"
    assert made.gpu_count.value == 2
    assert "This machine has the L4" in made.platform.reason


@pytest.mark.parametrize(("target", "serving"), [("cloud", ["fastapi"]), ("mobile", [])])
def test_a_small_device_serves_nothing(
    advise: Callable[..., advice_module.Advice], target: str, serving: list[str]
) -> None:
    assert advise(target=target).serving.value == serving


@pytest.mark.parametrize("task", ["llm", "multimodal"])
def test_what_generates_text_is_not_exported_as_onnx(
    advise: Callable[..., advice_module.Advice], task: str
) -> None:
    offered = {**advising.OFFERED, "serving": ["fastapi", "onnx"]}
    assert advise(offered, task=task).serving_problem("onnx").endswith("choose fastapi")
    assert advise(offered, task=task).serving_problem("fastapi") == ""
    assert advise(offered, task=task, target="mobile").serving.value == []
    small = advise(offered, task="image_classification", target="mobile")
    assert small.serving.value == ["onnx"]
    assert small.serving_problem("onnx") == ""


def test_an_endpoint_of_hugging_face_is_told_of_with_its_limits(
    advise: Callable[..., advice_module.Advice],
) -> None:
    offered = {**advising.OFFERED, "serving": ["fastapi", "hf_endpoints"]}
    told = dict(advise(offered, target="cloud").serving.rejected)
    assert "does not start with Transformers 5" in told["hf_endpoints"]
    private = dict(advise(offered, target="cloud", sensitive_data=True).serving.rejected)
    assert private == {"hf_endpoints": "the inputs would leave your machines."}
    assert not advise(target="cloud").serving.rejected  # a choice that is not offered


# ── What the folder holds ────────────────────────────────────────────────────────────────────────


@pytest.fixture
def tickets() -> Found:
    data = DataFile(
        path="tickets.csv",
        format="csv",
        rows=1_200,
        rows_exact=True,
        columns={"text": "body", "label": "topic"},
        mean_tokens=59,
        p95_tokens=150,
        classes=3,
    )
    return Found(
        data=data,
        task="text_classification",
        task_reason=data.description,
        framework="jax",
        framework_reason="train.py imports jax",
        tracking=["wandb"],
        tracking_reason="train.py imports wandb",
    )


def test_data_in_the_folder_decides_task_columns_and_sizes(
    advise: Callable[..., advice_module.Advice], tickets: Found
) -> None:
    answers: dict[str, Any] = {"task": advise(found=tickets).task.value}
    assert answers["task"] == "text_classification"
    answers["data_file"] = advise(found=tickets, **answers).data_file.value
    assert answers["data_file"] == "tickets.csv"
    answers["data_facts"] = advise(found=tickets, **answers).data_facts
    assert answers["data_facts"]["label_column"] == "topic"
    answers |= {"gpu": "L4", "base_model": "answerdotai/ModernBERT-base", "strategy": "full"}
    settled = advise(**answers)  # as files are rendered: the folder is not looked at again
    assert settled.sizes.value["max_seq_len"] == 256
    assert "1,200 rows of 59 tokens" in settled.prediction


def test_data_for_another_task_or_with_a_fault_is_told_and_not_used(
    advise: Callable[..., advice_module.Advice], tickets: Found
) -> None:
    other = advise(found=tickets, task="llm").data_file
    assert (other.value, "another task" in other.reason) == ("", True)
    assert advise(found=tickets, task="llm", data_file="other.csv").data_facts == {}
    assert tickets.data is not None
    faulty = replace(tickets, data=replace(tickets.data, problem="rename the column body"))
    advised = advise(found=faulty, task="text_classification").data_file
    assert (advised.value, "rename the column" in advised.reason) == ("", True)


def test_code_in_the_folder_is_followed_as_far_as_it_is_offered(
    advise: Callable[..., advice_module.Advice], tickets: Found
) -> None:
    assert advise(found=tickets).framework.value == "transformers"
    assert "JAX is not offered yet" in advise(found=tickets).framework.reason
    offered = {
        **advising.OFFERED,
        "framework": ["transformers", "jax"],
        "tracking": ["wandb", "mlflow"],
    }
    assert advise(offered, tickets).framework.value == "jax"
    assert advise(offered, tickets).tracking.value == ["wandb"]
    assert advise(found=tickets).tracking.value == []


@pytest.mark.parametrize("facts", [None, 3, "x", {"rows": "many"}, {"rows": -1}, {"rows": 1e300}])
def test_odd_facts_about_data_are_as_if_there_were_none(
    advise: Callable[..., advice_module.Advice], facts: Any
) -> None:
    made = advise(task="llm", gpu="L4", base_model="Qwen/Qwen3-0.6B", data_facts=facts)
    assert "assuming 10,000 rows" in made.prediction


@pytest.mark.parametrize("path", ["a\nb", '"', "{{ x }}", "x" * 201, "a\\b"])
def test_a_path_that_cannot_be_written_is_refused(
    advise: Callable[..., advice_module.Advice], path: str
) -> None:
    assert "data/raw/rows.csv" in advise(data_file=path).data_file_problem
    assert advise(data_file="data/größe 2.jsonl").data_file_problem == ""
