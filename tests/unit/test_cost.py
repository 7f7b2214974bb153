"""Time, money and inference: against public measurements, and what a user's price file may hold."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from extensions import context

pytestmark = pytest.mark.unit

estimate: Any = context.load(context.ESTIMATE, package=True)

# Shapes that are no presets: billions of parameters, hidden, intermediate, layers, heads,
# kv_heads, head_dim, vocab, tied, family.
MPT = {
    "MPT-760m": (0.76, 1536, 6144, 24, 12, 12, 128, 50368, True, "llama"),
    "MPT-1b": (1.316, 2048, 8192, 24, 16, 16, 128, 50368, True, "llama"),
    "MPT-3b": (2.657, 2560, 10240, 32, 20, 20, 128, 50368, True, "llama"),
    "MPT-7b": (6.684, 4096, 16384, 32, 32, 32, 128, 50368, True, "llama"),
    "MPT-13b": (12.854, 5120, 20480, 40, 40, 40, 128, 50368, True, "llama"),
    "MPT-30b": (29.975, 7168, 28672, 48, 56, 56, 128, 50368, True, "llama"),
    "MPT-70b": (64.862, 8192, 32768, 80, 64, 64, 128, 50368, True, "llama"),
}
OTHERS = {
    "phi-1.5": (1.41827072, 2048, 8192, 24, 32, 32, 64, 51200, False, "phi"),
    "StableLM Alpha 3B": (3.638525952, 4096, 16384, 16, 32, 32, 128, 50688, False, "gpt_neox"),
    "Llama 2 7B": (6.738415616, 4096, 11008, 32, 32, 32, 128, 32000, False, "llama"),
    "Llama 2 13B": (13.01586432, 5120, 13824, 40, 40, 40, 128, 32000, False, "llama"),
    "CodeLlama 34B": (33.743970304, 8192, 22016, 48, 64, 8, 128, 32000, False, "llama"),
    "Falcon 40B": (41.83597056, 8192, 32768, 60, 128, 8, 64, 65024, False, "falcon"),
    "Llama 2 70B": (68.976648192, 8192, 28672, 80, 64, 8, 128, 32000, False, "llama"),
}
# Tokens a second on each GPU. llm-foundry@8c8dd48 scripts/train/benchmarking/README.md, 8 or 64
# GPUs with FSDP: model, GPU, sequence, micro-batch, accumulation, precision, checkpointing, GPUs.
FOUNDRY = [
    ("MPT-30b", "H100", 2048, 3, 21, "bf16", True, 8, 2002),
    ("MPT-13b", "H100", 2048, 2, 1, "bf16", False, 8, 4792),
    ("MPT-7b", "H100", 32768, 2, 2, "bf16", True, 8, 3318),
    ("MPT-7b", "H100", 8192, 8, 2, "bf16", True, 8, 6935),
    ("MPT-1b", "H100", 2048, 14, 1, "bf16", False, 8, 45455),
    ("MPT-70b", "A100-80GB", 2048, 8, 4, "bf16", True, 64, 410),
    ("MPT-7b", "A100-80GB", 32768, 2, 2, "bf16", True, 8, 1672),
    ("MPT-7b", "A100-80GB", 8192, 8, 2, "bf16", True, 8, 3206),
    ("MPT-7b", "A100-80GB", 2048, 6, 2, "bf16", False, 8, 4641),
    ("MPT-3b", "A100-80GB", 4096, 5, 6, "bf16", False, 8, 9457),
    ("MPT-1b", "A100-80GB", 2048, 14, 4, "bf16", False, 8, 20513),
    ("MPT-760m", "A100-80GB", 2048, 24, 2, "bf16", False, 8, 32434),
    ("MPT-70b", "A100-40GB", 2048, 2, 1, "bf16", True, 64, 276),
    ("MPT-7b", "A100-40GB", 8192, 3, 4, "bf16", True, 8, 2887),
    ("MPT-3b", "A100-40GB", 4096, 2, 8, "bf16", False, 8, 8777),
    ("MPT-1b", "A100-40GB", 2048, 8, 8, "bf16", False, 8, 19271),
    ("MPT-760m", "A100-40GB", 2048, 12, 4, "bf16", False, 8, 30173),
    # the fastest and the slowest of that table, for their settings
    ("MPT-13b", "H100", 1024, 40, 3, "bf16", True, 8, 5502),
    ("MPT-30b", "H100", 2048, 14, 3, "bf16", True, 32, 2308),
    ("MPT-7b", "H100", 65536, 1, 2, "bf16", True, 8, 1956),
    ("MPT-1b", "H100", 32768, 1, 4, "bf16", False, 8, 12025),
    ("MPT-1b", "A100-80GB", 65536, 1, 2, "bf16", True, 8, 3044),
]
LLAMA3B, LLAMA8B = "meta-llama/Llama-3.2-3B", "meta-llama/Llama-3.1-8B"
LLAMA70B, QWEN32B = "meta-llama/Llama-3.1-70B", "Qwen/Qwen2.5-32B"
BERT = "google-bert/bert-large-uncased"
# torchtune@bd2a0fc README (compiled); NVIDIA-NeMo/Automodel docs/performance-summary.mdx;
# huggingface/peft@5d602fd method_comparison (rows of 210 tokens on average, padded);
# transformers docs perf_train_gpu_one.mdx @0016acf (V100, eager attention, unfused optimizer).
OTHER_LOOPS: list[tuple[str, str, dict[str, Any], float]] = [
    (LLAMA3B, "A100-80GB", {"precision": "pure_bf16", "micro_batch_size": 2}, 8998),
    (LLAMA3B, "A100-80GB", {"precision": "pure_bf16", "micro_batch_size": 2, "ckpt": True}, 7210),
    (
        LLAMA3B,
        "A100-80GB",
        {"strategy": "qlora", "precision": "pure_bf16", "micro_batch_size": 2, "ckpt": True},
        8035,
    ),
    (LLAMA8B, "H100", {"strategy": "lora", "micro_batch_size": 2, "accumulation": 16}, 12473),
    (LLAMA70B, "H100", {"strategy": "lora", "micro_batch_size": 2, "gpus": 8}, 1092),
    (QWEN32B, "H100", {"strategy": "lora", "micro_batch_size": 2, "gpus": 8}, 2250),
    (LLAMA70B, "H100", {"strategy": "lora", "micro_batch_size": 2, "gpus": 16}, 985),
    (QWEN32B, "H100", {"strategy": "lora", "micro_batch_size": 2, "gpus": 16}, 2073),
    (LLAMA3B, "L40S", {"strategy": "lora", "micro_batch_size": 4, "s": 210, "padded": True}, 7174),
    (BERT, "V100-16GB", {"precision": "fp16", "micro_batch_size": 4, "s": 512}, 9544),
    (BERT, "V100-16GB", {"precision": "fp32", "micro_batch_size": 4, "s": 512}, 4685),
    (BERT, "V100-16GB", {"precision": "fp16", "micro_batch_size": 1, "s": 512, "ckpt": True}, 5166),
    (BERT, "V100-16GB", {"precision": "fp32", "micro_batch_size": 1, "s": 512, "ckpt": True}, 3067),
]
# litgpt@2685705 tutorials/resource-tables.md, A100-40GB, 50 tokens of prompt and 50 new ones:
# model, precision, peak allocated GiB, tokens a second.
LITGPT = [
    ("phi-1.5", "nf4", 1.29, 22.89),
    ("phi-1.5", "nf4_dq", 1.24, 22.75),
    ("StableLM Alpha 3B", "bf16", 6.80, 49.01),
    ("StableLM Alpha 3B", "nf4", 2.98, 29.04),
    ("Llama 2 7B", "nf4_dq", 3.97, 17.3),
    ("Llama 2 13B", "bf16", 24.41, 24.82),
    ("Llama 2 13B", "nf4_dq", 7.19, 14.43),
    ("CodeLlama 34B", "nf4", 19.11, 14.32),
    ("Falcon 40B", "nf4", 24.73, 13.25),
    ("Llama 2 70B", "nf4_dq", 34.65, 7.97),
]
# gpt-fast README (A100-80GB, compiled); NIM 1.8 (H100, fp8): model, GPU, precision, batch, tokens
# in the cache, GPUs, tokens a second. NIM's 8B row on one H100 names no precision; in bf16 its
# weights could not be read that fast.
SERVED = [
    ("Llama 2 7B", "A100-80GB", "nf4", 1, 200, 1, 196.8),
    (LLAMA8B, "A100-80GB", "bf16", 1, 200, 1, 93.89),
    (LLAMA8B, "A100-80GB", "int8", 1, 200, 1, 137.64),
    (LLAMA8B, "H100", "fp8", 250, 500, 1, 12964.72),
    (LLAMA70B, "H100", "fp8", 1, 5250, 2, 51.67),
    (LLAMA70B, "H100", "fp8", 25, 5250, 2, 623.4),
]


HEADER = "provider,instance,gpu,gpu_count,usd_per_hour,spot_usd_per_hour,as_of\n"


def shape_of(model: str) -> Any:
    if model not in MPT | OTHERS:
        return estimate.find_model(model)
    billions, h, f, layers, heads, kv, head_dim, vocab, tied, family = (MPT | OTHERS)[model]
    return estimate.ModelShape(
        kind="decoder",
        params=round(billions * 1e9),
        hidden=h,
        intermediate=f,
        layers=layers,
        heads=heads,
        kv_heads=kv,
        head_dim=head_dim,
        vocab=vocab,
        tied=tied,
        family=family,
    )


def tokens_per_s(model: str, gpu: str, training: Any) -> Any:
    """The range on one GPU of the predicted job."""
    hours = estimate.training_hours(shape_of(model), estimate.find_gpu(gpu), 1e9, training)
    per_gpu = 1e9 / 3600 / training.gpu_count
    return estimate.Range(per_gpu / hours.high, per_gpu / hours.low)


@pytest.mark.parametrize("row", FOUNDRY, ids=lambda row: f"{row[0]} {row[1]} {row[2]}")
def test_the_speed_of_llm_foundry_is_in_the_range(row: tuple[Any, ...]) -> None:
    model, gpu, length, batch, accumulation, precision, ckpt, gpus, measured = row
    training = estimate.Training(
        precision=precision,
        micro_batch_size=batch,
        max_seq_len=length,
        accumulation=accumulation,
        activation_checkpointing=ckpt,
        parallelism="fsdp",
        gpu_count=gpus,
    )
    speed = tokens_per_s(model, gpu, training)
    assert speed.low <= measured <= speed.high
    assert speed.high < 3.5 * speed.low


@pytest.mark.parametrize(("model", "gpu", "options", "measured"), OTHER_LOOPS)
def test_the_speed_of_other_loops_is_in_the_range(
    model: str, gpu: str, options: dict[str, Any], measured: float
) -> None:
    gpus = options.get("gpus", 1)
    training = estimate.Training(
        strategy=options.get("strategy", "full"),
        precision=options.get("precision", "bf16"),
        micro_batch_size=options["micro_batch_size"],
        max_seq_len=options.get("s", 4096),
        accumulation=options.get("accumulation", 1),
        activation_checkpointing=options.get("ckpt", False),
        padded=options.get("padded", False),
        attention="eager" if model == BERT else "sdpa",
        classifier=model == BERT,
        parallelism="fsdp" if gpus > 1 else "single",
        gpu_count=gpus,
    )
    speed = tokens_per_s(model, gpu, training)
    assert speed.low <= measured <= speed.high
    assert speed.high < 4 * speed.low


def test_flops_follow_from_the_parameters() -> None:
    shape = estimate.find_model(LLAMA8B)
    n = shape.params - shape.vocab * shape.hidden  # the input embedding is only looked up
    short = {"max_seq_len": 1}
    full = estimate.flops_per_token(shape, estimate.Training(**short))
    assert full == pytest.approx(6 * n, rel=1e-3)
    lora = estimate.flops_per_token(shape, estimate.Training(strategy="lora", **short))
    assert lora == pytest.approx(4 * n, rel=1e-3)
    again = estimate.Training(strategy="lora", activation_checkpointing=True, **short)
    assert estimate.flops_per_token(shape, again) == pytest.approx(6 * n, rel=1e-3)
    # NeMo counts 32.2 GFLOP a token of 4096 for LoRA, with its attention
    long = estimate.Training(strategy="lora", max_seq_len=4096)
    assert estimate.flops_per_token(shape, long) == pytest.approx(32.2e9, rel=0.05)


def test_qlora_is_slower_than_lora_and_small_batches_slower_than_large() -> None:
    shape, gpu = estimate.find_model(LLAMA8B), estimate.find_gpu("RTX 4090")
    hours = {
        (strategy, batch): estimate.training_hours(
            shape, gpu, 1e8, estimate.Training(strategy=strategy, micro_batch_size=batch)
        )
        for strategy in ("lora", "qlora")
        for batch in (1, 8)
    }
    assert hours["qlora", 1].low > hours["lora", 1].low
    assert hours["lora", 1].high > hours["lora", 8].high


def test_fp32_takes_the_rate_without_tf32_and_old_gpus_have_no_bf16() -> None:
    shape, a100 = estimate.find_model(BERT), estimate.find_gpu("A100-80GB")
    hours = {
        precision: estimate.training_hours(
            shape, a100, 1e8, estimate.Training(precision=precision, micro_batch_size=32)
        )
        for precision in ("bf16", "fp32")
    }
    assert hours["fp32"].low > 5 * hours["bf16"].low
    t4 = estimate.find_gpu("T4")
    emulated = estimate.training_hours(shape, t4, 1e8, estimate.Training(precision="bf16"))
    halves = estimate.training_hours(shape, t4, 1e8, estimate.Training(precision="fp16"))
    assert emulated.low > 3 * halves.low


@pytest.mark.parametrize("tokens", [0, -1, float("nan"), float("inf"), 1e308])
def test_an_absurd_number_of_tokens_is_refused(tokens: float) -> None:
    shape, gpu = estimate.find_model(LLAMA8B), estimate.find_gpu("H100")
    with pytest.raises(estimate.EstimateError, match="tokens"):
        estimate.training_hours(shape, gpu, tokens, estimate.Training())


@pytest.mark.parametrize(
    "options",
    [{"strategy": "dora"}, {"precision": "int3"}, {"micro_batch_size": 0}, {"gpu_count": 0}],
)
def test_unknown_settings_have_no_time(options: dict[str, Any]) -> None:
    shape, gpu = estimate.find_model(LLAMA8B), estimate.find_gpu("H100")
    with pytest.raises(estimate.EstimateError):
        estimate.training_hours(shape, gpu, 1e6, estimate.Training(**options))


# ── Inference ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("model", "precision", "peak", "speed"), LITGPT)
def test_inference_is_what_litgpt_measured(
    model: str, precision: str, peak: float, speed: float
) -> None:
    shape = shape_of(model)
    assert estimate.inference_memory(shape, precision, 1, 100) == pytest.approx(peak, rel=0.03)
    gpu = estimate.find_gpu("A100-40GB")
    decode = estimate.decode_tokens_per_s(shape, gpu, precision, 1, 100)
    assert decode.low <= speed <= decode.high


@pytest.mark.parametrize(("model", "gpu", "precision", "batch", "cached", "gpus", "speed"), SERVED)
def test_decoding_is_as_fast_as_servers_measured(
    model: str, gpu: str, precision: str, batch: int, cached: int, gpus: int, speed: float
) -> None:
    decode = estimate.decode_tokens_per_s(
        shape_of(model), estimate.find_gpu(gpu), precision, batch, cached, gpus
    )
    assert decode.low <= speed <= decode.high
    assert decode.high < 2 * speed


def test_the_cache_grows_with_batch_and_length() -> None:
    shape = estimate.find_model(LLAMA8B)
    one = estimate.inference_memory(shape, "bf16", 1, 8192)
    eight = estimate.inference_memory(shape, "bf16", 8, 8192)
    assert eight - one > 7 * 2 * 32 * 1024 * 8192 * 2 / 2**30  # keys and values of seven more
    with pytest.raises(estimate.EstimateError, match="precision"):
        estimate.inference_memory(shape, "int3")
    with pytest.raises(estimate.EstimateError, match="writes no text"):
        estimate.decode_tokens_per_s(estimate.find_model(BERT), estimate.find_gpu("T4"))


# ── Prices ──────────────────────────────────────────────────────────────────────────────────────


def test_cost_spans_the_providers_prices() -> None:
    cost = estimate.cost_usd(estimate.Range(10.0, 20.0), "H100")
    usd = [q.usd_per_hour for q in estimate.quotes("H100") if not (q.stale or q.idle_gpus)]
    assert cost.low == pytest.approx(10 * min(usd))
    assert cost.high == pytest.approx(20 * max(usd))
    eight = estimate.cost_usd(estimate.Range(1.0, 1.0), "H100", 8)
    assert 8 * 3 < eight.low <= eight.high < 8 * 10
    assert estimate.cost_usd(estimate.Range(1.0, 1.0), "RTX 4090") is None


def test_spot_is_of_providers_that_have_it() -> None:
    hour = estimate.Range(1.0, 1.0)
    spot, demand = (estimate.cost_usd(hour, "H100", 8, spot=spot) for spot in (True, False))
    assert spot.high < demand.low
    assert estimate.cost_usd(hour, "GH200", spot=True) is None


def test_one_gpu_of_a_machine_with_eight_is_not_a_price_while_others_sell_one() -> None:
    hour = estimate.Range(1.0, 1.0)
    assert estimate.cost_usd(hour, "A100-80GB").high < 5
    assert any(quote.idle_gpus == 7 for quote in estimate.quotes("A100-80GB"))
    assert estimate.cost_usd(hour, "V100-32GB").low > 30  # nobody sells one


def test_prices_known_to_be_wrong_count_for_nothing() -> None:
    stale = [quote for quote in estimate.quotes("H100", 8) if quote.stale]
    assert stale and all(quote.old and "do not rely" in quote.note for quote in stale)
    cost = estimate.cost_usd(estimate.Range(1.0, 1.0), "H100", 8)
    assert cost.high < min(quote.usd_per_hour for quote in stale)


def test_what_only_serves_is_no_price_of_training() -> None:
    assert "hf-inference-endpoints" not in {q.provider for q in estimate.quotes("L4")}
    assert "hf-inference-endpoints" in {q.provider for q in estimate.quotes("L4", serving=True)}


def test_every_price_is_of_a_known_gpu_and_has_a_date_or_says_that_it_has_none() -> None:
    rows = estimate.tables.rows("prices")
    assert {row["gpu"] for row in rows} <= set(estimate.gpus())
    for row in rows:
        assert float(row["usd_per_hour"]) > 0 and row["source"]
        undated = row["as_of"].startswith(("undated", "stale"))
        assert undated or date.fromisoformat(row["as_of"]) < date.today()


def test_old_is_ninety_days(tmp_path: Path) -> None:
    file = tmp_path / "prices.csv"
    for days, old in ((1, False), (89, False), (91, True)):
        as_of = date.today() - timedelta(days=days)
        file.write_text(f"{HEADER}local,mine,L4,1,0.05,,{as_of}\n", encoding="utf-8")
        mine = [quote for quote in estimate.quotes("L4", 1, file) if quote.yours]
        assert [quote.old for quote in mine] == [old]


def test_a_price_of_ones_own_replaces_the_tables(tmp_path: Path) -> None:
    file = tmp_path / "prices.csv"
    text = (
        HEADER
        + "modal,H100,NVIDIA H100 80GB HBM3,1,1.5,,2026-11-01\n\nhome,box,T4,1,0.02,,2026-11-01\n"
    )
    file.write_text(text, encoding="utf-8")
    modal = [quote for quote in estimate.quotes("H100", 1, file) if quote.provider == "modal"]
    assert [quote.usd_per_hour for quote in modal] == [1.5]
    assert estimate.cost_usd(estimate.Range(2.0, 2.0), "H100", prices_file=file).low == 3.0
    assert estimate.quotes("T4", 1, file)[0].provider == "home"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "line 1: column provider is missing"),
        ("provider,gpu\n", "line 1: column instance is missing"),
        (HEADER + "modal,H100,H100,1,,,2026-11-01\n", "line 2: column usd_per_hour is empty"),
        (HEADER + "modal,H100,H100,1,1.5,,\n", "line 2: column as_of is empty"),
        (HEADER + "modal,H100,H100,1,1.5,,May\n", "line 2: column as_of is 'May'"),
        (HEADER + "modal,H100,H100,1,1.5,,2026-W05-1\n", "column as_of is '2026-W05-1'"),
        (HEADER + "modal,H100,H100,1,1.5,,2999-01-01\n", "2999-01-01, which is to come"),
        (HEADER + "modal,H100,H100,1,cheap,,2026-11-01\n", "column usd_per_hour is 'cheap'"),
        (HEADER + "modal,H100,H100,1,-2,,2026-11-01\n", "column usd_per_hour is '-2'"),
        (HEADER + "modal,H100,H100,1,nan,,2026-11-01\n", "column usd_per_hour is 'nan'"),
        (HEADER + "modal,H100,H100,1,2,1e9,2026-11-01\n", "column spot_usd_per_hour is '1e9'"),
        (HEADER + "modal,H100,H100,0,2,,2026-11-01\n", "column gpu_count is '0'"),
        (HEADER + "modal,H100,H101,1,2,,2026-11-01\n", "column gpu: GPU 'H101' is not"),
        (HEADER + "\nmodal,H100,H100,1,2\n", "line 3: 5 values for 7 columns"),
    ],
)
def test_a_price_file_with_holes_is_refused_by_line_and_column(
    tmp_path: Path, text: str, said: str
) -> None:
    file = tmp_path / "prices.csv"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(estimate.EstimateError) as caught:
        estimate.quotes("L4", 1, file)
    assert said in str(caught.value)
    assert "prices.csv" in str(caught.value)


def test_a_price_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "prices.csv"
    file.write_bytes(b"\xff\xfe\x00provider")
    with pytest.raises(estimate.EstimateError, match="cannot be read"):
        estimate.prices("L4", file)
    with pytest.raises(estimate.EstimateError, match="No such file"):
        estimate.prices("L4", tmp_path / "none.csv")


def test_a_name_that_several_gpus_begin_with_suggests_those() -> None:
    with pytest.raises(estimate.EstimateError, match=r"mean A100-40GB or A100-80GB\?"):
        estimate.find_gpu("A100")


def test_energy_is_watts_times_hours() -> None:
    kwh = estimate.energy_kwh(estimate.Range(10.0, 20.0), estimate.find_gpu("T4"), 2)
    assert kwh.high == pytest.approx(20 * 2 * 0.070)
    assert kwh.low < 10 * 2 * 0.070
