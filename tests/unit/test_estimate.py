"""The memory, time and cost model: against a simulation, published counts and itself."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from extensions import context

pytestmark = pytest.mark.unit

PACKAGE = Path(__file__).resolve().parents[2] / "template" / "src" / "{{package_name}}"

# Peak GiB of one training step, from tracing the real modules of transformers with fake tensors
# (full fine-tuning, fp32 weights under bf16 autocast, fused AdamW): micro-batch, length,
# checkpointing, peak.
SIMULATED = [
    ("HuggingFaceTB/SmolLM2-135M", 2, 512, False, 3.191),
    ("HuggingFaceTB/SmolLM2-135M", 2, 1024, True, 2.839),
    ("Qwen/Qwen2.5-0.5B", 2, 512, False, 9.708),
    ("Qwen/Qwen2.5-0.5B", 2, 1024, True, 9.528),
    ("Qwen/Qwen3-0.6B", 2, 512, False, 11.713),
    ("Qwen/Qwen3-0.6B", 2, 1024, True, 10.917),
    ("TinyLlama/TinyLlama-1.1B-Chat-v1.0", 2, 1024, True, 16.408),
    ("meta-llama/Llama-3.2-1B", 2, 512, False, 20.372),
    ("meta-llama/Llama-3.2-3B", 2, 1024, True, 50.809),
]
# The same for LoRA of rank 16 on all linear layers under autocast, from formulas checked
# against that simulation: micro-batch, length, checkpointing, accumulation, peak.
LORA = [
    ("HuggingFaceTB/SmolLM2-135M", 2, 1024, False, 1, 2.984),
    ("Qwen/Qwen2.5-0.5B", 4, 2048, True, 4, 15.317),
    ("Qwen/Qwen3-0.6B", 2, 1024, False, 1, 8.544),
    ("meta-llama/Llama-3.2-1B", 2, 1024, False, 1, 8.937),
    ("meta-llama/Llama-3.1-8B", 2, 1024, False, 1, 31.634),
    ("meta-llama/Llama-3.1-8B", 4, 2048, True, 4, 29.450),
]
# Bytes that autograd kept per token and layer in modules of transformers 5.23 in fp32 (saved
# tensor hooks, dropout off): strategy, bytes.
SAVED_FP32: list[tuple[str, dict[str, int], str, float]] = [
    ("llama", {"hidden": 2048, "intermediate": 8192, "kv_heads": 8}, "full", 200840),
    ("llama", {"hidden": 2048, "intermediate": 8192, "kv_heads": 8}, "lora", 184904),
    ("qwen3", {"hidden": 1024, "intermediate": 3072, "kv_heads": 8, "heads": 16}, "full", 123048),
    ("qwen3", {"hidden": 1024, "intermediate": 3072, "kv_heads": 8, "heads": 16}, "lora", 103016),
    ("modernbert", {"hidden": 768, "intermediate": 1152, "heads": 12}, "full", 49472),
    ("modernbert", {"hidden": 1024, "intermediate": 2624, "heads": 16}, "lora", 83408),
]
LLAMA_CONFIG = {
    "model_type": "llama",
    "hidden_size": 2048,
    "intermediate_size": 8192,
    "num_hidden_layers": 16,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
    "tie_word_embeddings": True,
}


estimate: Any = context.load(context.ESTIMATE, package=True)


@pytest.mark.parametrize(("model", "batch", "length", "checkpointing", "peak"), SIMULATED)
def test_full_training_peak_is_that_of_the_simulation(
    model: str, batch: int, length: int, checkpointing: bool, peak: float
) -> None:
    memory = estimate.training_memory(
        estimate.find_model(model),
        micro_batch_size=batch,
        max_seq_len=length,
        activation_checkpointing=checkpointing,
    )
    assert memory.peak_gib == pytest.approx(peak, rel=0.01)


@pytest.mark.parametrize(("model", "batch", "length", "ckpt", "accumulation", "peak"), LORA)
def test_lora_peak_is_that_of_the_reference(
    model: str, batch: int, length: int, ckpt: bool, accumulation: int, peak: float
) -> None:
    memory = estimate.training_memory(
        estimate.find_model(model),
        strategy="lora",
        micro_batch_size=batch,
        max_seq_len=length,
        activation_checkpointing=ckpt,
        accumulation=accumulation,
    )
    assert memory.peak_gib == pytest.approx(peak, rel=0.02)


@pytest.mark.parametrize(("family", "sizes", "strategy", "measured"), SAVED_FP32)
def test_activations_of_one_more_layer_are_what_autograd_keeps(
    family: str, sizes: dict[str, int], strategy: str, measured: float
) -> None:
    heads = sizes.get("heads", 32)
    shape = estimate.ModelShape(
        kind="encoder" if family == "modernbert" else "decoder",
        params=0,
        layers=2,
        heads=heads,
        head_dim=128 if family == "qwen3" else sizes["hidden"] // heads,
        vocab=8,
        tied=False,
        family=family,
        **{"kv_heads": heads, **{k: v for k, v in sizes.items() if k != "heads"}},
    )
    deeper = replace(shape, layers=3)
    kept = [
        estimate.training_memory(
            s, strategy=strategy, precision="fp32", micro_batch_size=64
        ).activations_gib
        for s in (shape, deeper)
    ]
    per_token = (kept[1] - kept[0]) * estimate.GIB / (64 * 1024)
    assert per_token == pytest.approx(measured, rel=0.01)


def test_parts_add_up_to_the_peak() -> None:
    for shape in estimate.models().values():
        for strategy in ("full", "lora"):
            for precision in ("bf16", "fp16", "fp32"):
                memory = estimate.training_memory(shape, strategy=strategy, precision=precision)
                parts = (
                    memory.weights_gib
                    + memory.gradients_gib
                    + memory.optimizer_gib
                    + memory.activations_gib
                    + memory.logits_gib
                )
                assert memory.peak_gib == pytest.approx(parts)
                assert memory.peak_gib > 0


def test_bert_full_training_needs_states_and_34_h_a_token() -> None:
    """Sixteen bytes a parameter, 42 h a token and layer under autocast (Korthikanti: 34 h)."""
    bert = estimate.find_model("google-bert/bert-base-uncased")
    short = estimate.training_memory(bert, max_seq_len=1)
    assert short.peak_gib == pytest.approx(16 * bert.params / 2**30, rel=0.01)
    tokens = 32 * 256
    long = estimate.training_memory(bert, micro_batch_size=32, max_seq_len=256)
    assert long.activations_gib * 2**30 == pytest.approx(12 * 42 * 768 * tokens, rel=0.1)
    assert long.logits_gib == 0


def test_each_saving_saves() -> None:
    shape = estimate.find_model("meta-llama/Llama-3.2-1B")

    def peak(**options: Any) -> float:
        memory = estimate.training_memory(shape, micro_batch_size=8, max_seq_len=2048, **options)
        return float(memory.peak_gib)

    assert peak(strategy="lora") < peak()
    assert peak(activation_checkpointing=True) < peak()
    assert peak() < peak(precision="fp32")
    assert peak() < peak(padded=True)
    assert peak() <= peak(accumulation=8)
    assert peak(strategy="lora") < peak(strategy="lora", lora_dropout=0.1)
    assert peak(classifier=True) < peak()


def test_every_preset_has_the_parameters_of_its_formula() -> None:
    assert len(estimate.models()) > 30
    for name, shape in estimate.models().items():
        assert estimate.count_parameters(shape) == shape.params, name


def test_a_config_gives_the_shape_of_the_preset() -> None:
    assert estimate.shape_from_config(LLAMA_CONFIG) == estimate.find_model(
        "meta-llama/Llama-3.2-1B"
    )


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"hidden_size": None}, "hidden_size is missing"),
        ({"num_hidden_layers": -2}, "num_hidden_layers is -2"),
        ({"vocab_size": "many"}, "vocab_size is 'many'"),
        ({"num_attention_heads": True}, "num_attention_heads is True"),
        ({"model_type": "mamba"}, "model_type 'mamba'"),
        ({"attention_bias": True}, "attention_bias"),
    ],
)
def test_a_bad_config_is_refused_by_field(change: dict[str, Any], says: str) -> None:
    with pytest.raises(estimate.EstimateError, match=says):
        estimate.shape_from_config({**LLAMA_CONFIG, **change})


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        ("H100", "H100"),
        ("NVIDIA H100 80GB HBM3", "H100"),
        ("NVIDIA H100 PCIe", "H100-PCIe"),
        ("Tesla T4", "T4"),
        ("NVIDIA GeForce RTX 4090", "RTX 4090"),
        ("rtx4090", "RTX 4090"),
        ("NVIDIA A100-SXM4-80GB", "A100-80GB"),
        ("NVIDIA L4", "L4"),
    ],
)
def test_a_gpu_is_found_under_its_product_name(spelling: str, name: str) -> None:
    assert estimate.find_gpu(spelling).name == name


@pytest.mark.parametrize(
    "other", ["NVIDIA GeForce RTX 4090 Laptop GPU", "NVIDIA H100 80GB HBM3 MIG 1g.10gb", "", "L"]
)
def test_a_gpu_that_is_not_in_the_table_is_not_taken_for_one_that_is(other: str) -> None:
    with pytest.raises(estimate.EstimateError, match="not in the table"):
        estimate.find_gpu(other)


def test_unknown_names_get_the_nearest_ones() -> None:
    with pytest.raises(estimate.EstimateError, match=r"did you mean .*L40S"):
        estimate.find_gpu("L40")
    with pytest.raises(estimate.EstimateError, match=r"did you mean Qwen/Qwen2\.5"):
        estimate.find_model("Qwen/Qwen2.5-2B")


def test_an_instruct_variant_has_the_shape_of_its_base() -> None:
    assert estimate.find_model("qwen/qwen2.5-7b-instruct").params == 7615616512


def test_no_bf16_before_ampere() -> None:
    for gpu in estimate.gpus().values():
        assert (gpu.bf16_tflops is None) == (gpu.compute_capability < (8, 0)), gpu.name


def test_what_does_not_fit_is_told_apart() -> None:
    shape = estimate.find_model("meta-llama/Llama-3.1-8B")
    lora = estimate.training_memory(shape, strategy="lora", activation_checkpointing=True)
    assert estimate.fits(lora, estimate.find_gpu("RTX 4090"))
    assert not estimate.fits(lora, estimate.find_gpu("T4"))
    assert not estimate.fits(estimate.training_memory(shape), estimate.find_gpu("H100"))


@pytest.mark.parametrize(
    "options",
    [
        {"strategy": "qlora"},
        {"precision": "int8"},
        {"micro_batch_size": 0},
        {"max_seq_len": -1},
        {"accumulation": 0},
    ],
)
def test_absurd_settings_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(estimate.EstimateError):
        estimate.training_memory(estimate.find_model("Qwen/Qwen3-0.6B"), **options)


def test_hours_follow_from_flops_and_peak() -> None:
    shape = estimate.find_model("meta-llama/Llama-3.1-8B")
    h100 = estimate.find_gpu("H100")
    hours = estimate.training_hours(shape, h100, 1e9)
    # 6 N T at 40 % of 989 TFLOP/s, without the input embedding, with 5 % for attention
    n = shape.params - shape.vocab * shape.hidden
    assert hours.low == pytest.approx(6 * n * 1e9 / (0.4 * 989.4e12) / 3600, rel=0.1)
    assert hours.low < hours.high
    lora = estimate.training_hours(shape, h100, 1e9, strategy="lora")
    assert lora.high < hours.high
    recomputed = estimate.training_hours(shape, h100, 1e9, activation_checkpointing=True)
    assert 1.2 < recomputed.low / hours.low < 1.4
    with pytest.raises(estimate.EstimateError, match="positive"):
        estimate.training_hours(shape, h100, 0)


def test_cost_spans_the_providers_prices() -> None:
    single = [p.usd_per_hour for p in estimate.prices("H100") if p.gpu_count == 1]
    cost = estimate.cost_usd(estimate.Range(10.0, 20.0), "H100")
    assert cost.low == pytest.approx(10 * min(single))
    assert cost.high == pytest.approx(20 * max(single))
    eight = estimate.cost_usd(estimate.Range(1.0, 1.0), "H100", 8)
    assert 8 * 3 < eight.low <= eight.high < 8 * 10
    assert estimate.cost_usd(estimate.Range(1.0, 1.0), "RTX 4090") is None


def test_every_price_is_of_a_known_gpu_and_has_a_date() -> None:
    rows = estimate.tables.rows("prices")
    assert {row["gpu"] for row in rows} <= set(estimate.gpus())
    for row in rows:
        assert float(row["usd_per_hour"]) > 0
        assert row["as_of"].startswith("202") or "undated" in row["as_of"], row


def test_it_loads_without_any_package() -> None:
    """The questionnaire loads it before anything is installed: standard library alone."""
    code = f"import sys; sys.path.insert(0, {str(PACKAGE)!r}); import estimate; estimate.models()"
    subprocess.run([sys.executable, "-I", "-S", "-c", code], check=True)
