"""The memory model and the trainer: what both must say alike of gradients, losses and adapters."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any

import pytest

from extensions import context

pytestmark = pytest.mark.unit

ROOT = Path(__file__).resolve().parents[2]

estimate: Any = context.load(context.ESTIMATE, package=True)
memory_module, activations, shapes, targets = (
    importlib.import_module(f"{estimate.__name__}.{name}")
    for name in ("memory", "activations", "shapes", "targets")
)


def peak_of(shape: Any, **options: Any) -> Any:
    return estimate.training_memory(shape, estimate.Training(**options))


def test_gradients_are_added_up_after_the_backward_pass() -> None:
    """DDP holds none in the forward pass; at the end it has a copy of the largest, or of 64 MiB."""
    shape = estimate.find_model("Qwen/Qwen3-0.6B")
    several = {"parallelism": "ddp", "gpu_count": 4, "micro_batch_size": 4}
    assert peak_of(shape, **several).peak_gib == peak_of(shape, micro_batch_size=4).peak_gib
    more = peak_of(shape, **several, accumulation=2).peak_gib
    assert more == peak_of(shape, micro_batch_size=4, accumulation=2).peak_gib > 15
    small = {"max_seq_len": 1, "activation_checkpointing": True}
    for name, copied in (
        ("google-bert/bert-base-uncased", 4 * 30522 * 768),
        ("meta-llama/Llama-3.1-8B", 4 * 128256 * 4096 + 64 * 2**20),
    ):
        shape = estimate.find_model(name)
        summed = peak_of(shape, **small, parallelism="ddp", gpu_count=2)
        assert summed.moment == "sum of the gradients over GPUs"
        assert summed.peak_gib * 2**30 == pytest.approx(16 * shape.params + copied, rel=1e-3)
        assert peak_of(shape, **small, parallelism="ddp").peak_gib < summed.peak_gib
    lora = estimate.find_model("Qwen/Qwen3-0.6B")
    adapters = peak_of(lora, **small, strategy="lora", parallelism="ddp", gpu_count=2)
    assert adapters.peak_gib < peak_of(lora, **small, strategy="lora").peak_gib + 40 / 1024


def test_constants_of_the_trainer_are_those_of_its_modules() -> None:
    def line_of(constant: str, file: str) -> str:
        (path,) = (ROOT / "template").rglob(file)
        (line,) = re.findall(rf"^{constant} = .*?(?=  #|$)", path.read_text("utf-8"), re.MULTILINE)
        return str(line)

    moments, states = "estimate/moments.py", "estimate/states.py"
    ddp = "{{parallelism_ddp}}/src/{{package_name}}/parallel.py"
    assert line_of("CHUNK", "chunked_loss.py") == line_of("CHUNK", moments)
    assert line_of("BUCKET_BYTES", ddp) == line_of("BUCKET_BYTES", states)


def test_a_chunked_loss_has_the_logits_of_one_chunk() -> None:
    shape = estimate.find_model("Qwen/Qwen3-0.6B")
    options = {"strategy": "lora", "loss_head": "chunked", "activation_checkpointing": True}
    few = peak_of(shape, **options, max_seq_len=1024, lora_rank=1)
    assert few.moment == "loss"
    assert few.logits_gib * 2**30 == 12 * shape.vocab * 1024
    for length in (512, 4096):
        longer = peak_of(shape, **options, max_seq_len=length, lora_rank=1)
        if longer.moment == "loss":
            assert longer.logits_gib * 2**30 == 12 * shape.vocab * min(length, 1024)


# Bytes per token and layer that modules with 16-bit weights and inputs kept under autocast, as
# FSDP's do, traced like simulate.py: strategy, bytes. RMSNorm gives 16 bit again, LayerNorm fp32.
SAVED_SHARDED = [
    ("google-bert/bert-base-uncased", "full", 29254),  # as roberta-base, of the same sizes
    ("google-bert/bert-base-uncased", "lora", 29446),
    ("google/vit-base-patch16-224", "full", 30803),
    ("google/vit-base-patch16-224", "lora", 30998),
    ("openai-community/gpt2", "full", 66118),
    ("openai-community/gpt2", "lora", 66246),
    ("HuggingFaceTB/SmolLM2-135M", "full", 24620),
    ("HuggingFaceTB/SmolLM2-135M", "lora", 22540),
    ("facebook/wav2vec2-base", "lora", 32520),
]


@pytest.mark.parametrize(("model", "strategy", "kept"), SAVED_SHARDED)
def test_autocast_computes_layer_norms_in_fp32_under_fsdp(
    model: str, strategy: str, kept: float
) -> None:
    shape = estimate.find_model(model)
    training = estimate.Training(
        strategy=strategy, parallelism="fsdp", gpu_count=2, micro_batch_size=4, max_seq_len=512
    )
    length = shape.tokens or 512
    predicted = activations.saved_per_token(shape, training, length, activations.Program())[0]
    if strategy == "lora":
        maps = memory_module.targeted_maps(shape, training)
        predicted += activations.adapters_per_token(shape, training, maps)
    assert predicted == pytest.approx(kept, rel=0.002)


LANGUAGE_ALONE = ".*(language|text)_model.*_proj"


@pytest.mark.parametrize(
    "model",
    [
        "llava-hf/llava-1.5-7b-hf",
        "Qwen/Qwen2.5-VL-3B-Instruct",
        "HuggingFaceTB/SmolVLM-256M-Instruct",
    ],
)
def test_a_pattern_of_targets_leaves_the_image_encoder_out(model: str) -> None:
    """What a multimodal project's configuration says; all-linear adapts the encoder, too."""
    shape = estimate.find_model(model)
    names, tower = targets.adapted(LANGUAGE_ALONE, shape)
    assert set(names) == {linear.name for linear in shapes.layer_maps(shape)}
    assert not tower
    alone, both = (
        peak_of(shape, strategy="lora", lora_targets=names, lora_in_tower=in_tower)
        for in_tower in (False, True)
    )
    assert alone.optimizer_gib < both.optimizer_gib or "Qwen" in model
    assert alone.peak_gib < peak_of(shape, strategy="lora").peak_gib


def test_targets_are_names_a_pattern_or_all() -> None:
    llama = estimate.find_model("meta-llama/Llama-3.2-1B")
    llava = estimate.find_model("llava-hf/llava-1.5-7b-hf")
    assert targets.adapted("all-linear", llava) == ((), True)
    assert targets.adapted(["q_proj"], llama) == (("q_proj",), True)
    assert targets.adapted(r".*\.[qv]_proj", llama) == (("q_proj", "v_proj"), False)
    assert targets.adapted(r".*\.[qv]_proj", llava) == (("q_proj", "v_proj"), True)
    assert targets.adapted("nothing.like.that", llava) == ((), False)
    with pytest.raises(estimate.EstimateError, match="no regular expression"):
        targets.adapted("*_proj", llama)
