"""Models that see or hear: what the estimate says of them, against counts on the real modules."""

from __future__ import annotations

import copy
import importlib
from typing import Any

import pytest

from extensions import context

pytestmark = pytest.mark.unit

estimate: Any = context.load(context.ESTIMATE, package=True)
kept_by: Any = importlib.import_module(f"{estimate.__name__}.activations")
shapes: Any = importlib.import_module(f"{estimate.__name__}.shapes")

# Bytes that autograd kept for a micro-batch of 4 in the models of transformers 5.23 (saved-tensor
# hooks over unique storages, fake tensors that take the kernels of a GPU; LoRA of rank 16 by PEFT
# 0.21 on all linear maps; convolutions of wav2vec2 frozen).
KEPT = [
    ("google/vit-base-patch16-224", "full", "bf16", 465783284),
    ("google/vit-base-patch16-224", "full", "fp32", 470296708),
    ("google/vit-base-patch16-224", "lora", "bf16", 312825172),
    ("google/vit-huge-patch14-224-in21k", "full", "bf16", 2953195348),
    ("google/vit-huge-patch14-224-in21k", "lora", "pure_bf16", 2375881508),
    ("facebook/dinov2-large", "full", "bf16", 1724227732),
    ("facebook/dinov2-large", "full", "pure_bf16", 913612914),
    ("facebook/dinov2-large", "lora", "fp32", 1628575652),
    ("openai/whisper-small", "full", "bf16", 2576909524),
    ("openai/whisper-small", "lora", "bf16", 2355858772),
    ("openai/whisper-large-v3", "full", "fp32", 15962205604),
    ("openai/whisper-large-v3", "lora", "pure_bf16", 13870084900),
    ("facebook/wav2vec2-base", "full", "pure_bf16", 727910386),
    ("facebook/wav2vec2-base", "lora", "fp32", 1347602244),
    ("facebook/wav2vec2-xls-r-300m", "full", "pure_bf16", 1907176210),
    ("facebook/wav2vec2-xls-r-300m", "lora", "bf16", 2424117332),
    ("facebook/hubert-base-ls960", "full", "fp32", 1342381220),
    ("MIT/ast-finetuned-audioset-10-10-0.4593", "full", "bf16", 1980134708),
    ("MIT/ast-finetuned-audioset-10-10-0.4593", "lora", "fp32", 2890320644),
]
# Peak GiB of a training step of the same models with AdamW, by tracing forward and backward pass
# with fake tensors: strategy, precision, micro-batch, checkpointing, peak.
PEAKS = [
    ("google/vit-base-patch16-224", "full", "bf16", 64, False, 5.640),
    ("google/vit-base-patch16-224", "full", "bf16", 64, True, 1.916),
    ("google/vit-base-patch16-224", "full", "fp32", 64, False, 8.120),
    ("google/vit-base-patch16-224", "lora", "bf16", 64, False, 5.154),
    ("google/vit-base-patch16-224", "lora", "bf16", 64, True, 1.167),
    ("google/vit-large-patch16-224", "full", "bf16", 32, False, 9.855),
    ("google/vit-large-patch16-224", "full", "bf16", 32, True, 4.854),
    ("google/vit-large-patch16-224", "lora", "bf16", 32, False, 6.999),
    ("google/vit-large-patch16-224", "lora", "bf16", 32, True, 1.434),
    ("facebook/dinov2-base", "full", "bf16", 32, False, 4.360),
    ("facebook/dinov2-base", "full", "bf16", 32, True, 1.633),
    ("facebook/dinov2-base", "full", "fp32", 32, False, 6.201),
    ("facebook/dinov2-base", "lora", "bf16", 32, False, 3.414),
    ("facebook/dinov2-base", "lora", "bf16", 32, True, 0.835),
    ("openai/whisper-small", "full", "bf16", 8, False, 5.697),
    ("openai/whisper-small", "full", "bf16", 8, True, 1.956),
    ("openai/whisper-small", "full", "fp32", 8, False, 7.939),
    ("openai/whisper-small", "lora", "bf16", 8, False, 4.843),
    ("openai/whisper-small", "lora", "bf16", 8, True, 1.135),
    ("openai/whisper-large-v3", "full", "bf16", 4, False, 18.114),
    ("openai/whisper-large-v3", "full", "bf16", 4, True, 9.922),
    ("openai/whisper-large-v3", "lora", "bf16", 4, False, 11.244),
    ("openai/whisper-large-v3", "lora", "bf16", 4, True, 2.390),
    ("facebook/wav2vec2-base", "full", "bf16", 8, False, 2.982),
    ("facebook/wav2vec2-base", "full", "bf16", 8, True, 2.251),
    ("facebook/wav2vec2-base", "full", "fp32", 8, False, 3.566),
    ("facebook/wav2vec2-base", "lora", "bf16", 8, False, 2.146),
    ("facebook/wav2vec2-base", "lora", "bf16", 8, True, 1.434),
    ("MIT/ast-finetuned-audioset-10-10-0.4593", "full", "bf16", 8, False, 4.580),
    ("MIT/ast-finetuned-audioset-10-10-0.4593", "full", "bf16", 8, True, 1.668),
    ("MIT/ast-finetuned-audioset-10-10-0.4593", "full", "fp32", 8, False, 6.457),
    ("MIT/ast-finetuned-audioset-10-10-0.4593", "lora", "bf16", 8, False, 3.978),
    ("MIT/ast-finetuned-audioset-10-10-0.4593", "lora", "bf16", 8, True, 0.919),
]
# Bytes of the part that an image adds to two rows of a LLaVA with a tower of CLIP-large's width
# and 12 layers, and a language model 1024 wide; counted in the same way.
TOWER = [
    ("full", "bf16", 1007050296),
    ("full", "fp32", 1159203800),
    ("full", "pure_bf16", 580137528),
    ("lora", "bf16", 733073912),
    ("lora", "fp32", 1160936856),
    ("lora", "pure_bf16", 931644408),
]
# Total parameters that the publishers' pages state.
PUBLISHED = {
    "HuggingFaceTB/SmolVLM-256M-Instruct": 256484928,
    "HuggingFaceTB/SmolVLM-500M-Instruct": 507482304,
    "Qwen/Qwen2-VL-2B-Instruct": 2208985600,
    "Qwen/Qwen2.5-VL-3B-Instruct": 3754622976,
    "Qwen/Qwen2.5-VL-7B-Instruct": 8292166656,
    "llava-hf/llava-1.5-7b-hf": 7063427072,
}
VIT = {
    "model_type": "vit",
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "image_size": 224,
    "patch_size": 16,
}
WAV2VEC2 = {key: VIT[key] for key in VIT if key.endswith(("layers", "heads"))} | {
    "model_type": "wav2vec2",
    "hidden_size": 768,
    "intermediate_size": 3072,
}
# As published: what the configuration class fills in is left out.
LLAVA: dict[str, Any] = {
    "model_type": "llava",
    "text_config": {"model_type": "llama", "vocab_size": 32064},
    "vision_config": {
        "model_type": "clip_vision_model",
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "image_size": 336,
        "patch_size": 14,
    },
}


def seeing(kind: str) -> list[str]:
    return [name for name, shape in estimate.models().items() if shape.kind == kind]


@pytest.mark.parametrize(("model", "strategy", "precision", "kept"), KEPT)
def test_activations_are_what_autograd_keeps(
    model: str, strategy: str, precision: str, kept: int
) -> None:
    shape = estimate.find_model(model)
    training = estimate.Training(strategy=strategy, precision=precision, micro_batch_size=4)
    layer, _, _ = kept_by.saved_per_token(shape, training, shape.tokens, kept_by.Program())
    maps = shapes.layer_maps(shape)
    casts = 0
    if strategy == "lora":
        layer += kept_by.adapters_per_token(shape, training, maps)
    if training.mode == "mixed":
        sizes = [(m.inputs * m.outputs, 16 * (m.inputs + m.outputs)) for m in maps]
        casts = 2 * sum(size[strategy == "lora"] for size in sizes)
    predicted = shape.layers * (layer * 4 * shape.tokens + casts)
    predicted += kept_by.outside_layers(shape, training)
    assert predicted == pytest.approx(kept, rel=0.01)


@pytest.mark.parametrize(
    ("model", "strategy", "precision", "batch", "checkpointing", "peak"), PEAKS
)
def test_peak_is_that_of_the_simulation(
    model: str, strategy: str, precision: str, batch: int, checkpointing: bool, peak: float
) -> None:
    training = estimate.Training(
        strategy=strategy,
        precision=precision,
        micro_batch_size=batch,
        activation_checkpointing=checkpointing,
        max_seq_len=77,
    )
    memory = estimate.training_memory(estimate.find_model(model), training)
    assert memory.peak_gib == pytest.approx(
        peak, rel=0.05 if model == "openai/whisper-small" else 0.02
    )


@pytest.mark.parametrize(("strategy", "precision", "kept"), TOWER)
def test_a_tower_keeps_what_autograd_keeps(strategy: str, precision: str, kept: int) -> None:
    config = copy.deepcopy(LLAVA)
    config["vision_config"]["num_hidden_layers"] = 12
    config["text_config"] |= {
        "hidden_size": 1024,
        "intermediate_size": 2048,
        "num_hidden_layers": 2,
        "num_attention_heads": 8,
    }
    shape = estimate.shape_from_config(config)
    training = estimate.Training(strategy=strategy, precision=precision, micro_batch_size=2)
    predicted = kept_by.outside_layers(shape, training)
    assert predicted == pytest.approx(kept, rel=0.02)


def test_a_tower_without_adapters_is_frozen() -> None:
    shape = estimate.find_model("Qwen/Qwen2-VL-2B-Instruct")

    def activations(*targets: str) -> float:
        training = estimate.Training(strategy="lora", lora_targets=targets)
        return float(kept_by.outside_layers(shape, training))

    assert activations("q_proj", "v_proj") == 0
    assert 0 < activations("q_proj", "qkv") < activations()


@pytest.mark.parametrize("model", PUBLISHED)
def test_published_parameters_are_reproduced(model: str) -> None:
    shape = estimate.find_model(model)
    assert shape.params == PUBLISHED[model] == estimate.count_parameters(shape)


@pytest.mark.parametrize("kind", ["vision", "audio", "vision_language"])
def test_presets_agree_with_the_formula(kind: str) -> None:
    assert len(seeing(kind)) >= 8
    for name in seeing(kind):
        shape = estimate.find_model(name)
        assert estimate.count_parameters(shape) == shape.params, name
        assert shape.tokens > 0
        assert (shape.vision is not None) == (kind == "vision_language")


def test_a_preset_is_the_shape_of_its_config() -> None:
    assert estimate.shape_from_config(VIT) == estimate.find_model("google/vit-base-patch16-224")
    assert estimate.shape_from_config(LLAVA) == estimate.find_model("llava-hf/llava-1.5-7b-hf")
    wav2vec2 = estimate.find_model("facebook/wav2vec2-base")
    assert estimate.shape_from_config(WAV2VEC2) == wav2vec2


def test_a_sample_has_the_tokens_that_its_model_makes_of_it() -> None:
    tokens = {name: estimate.find_model(name).tokens for name in estimate.models()}
    assert tokens["google/vit-base-patch16-224"] == 14 * 14 + 1
    assert tokens["facebook/dinov2-base"] == 16 * 16 + 1
    assert tokens["openai/whisper-tiny"] == 1500
    assert tokens["facebook/wav2vec2-base"] == 499
    assert tokens["llava-hf/llava-1.5-7b-hf"] == 24 * 24
    assert tokens["HuggingFaceTB/SmolVLM-256M-Instruct"] == 17 * 64
    assert tokens["Qwen/Qwen2-VL-2B-Instruct"] == (896 // 28) ** 2


WITHOUT_HEADS = {key: value for key, value in VIT.items() if key != "num_attention_heads"}


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (WITHOUT_HEADS, ["num_attention_heads", "missing"]),
        (VIT | {"hidden_size": 770}, ["12 attention heads", "770"]),
        (VIT | {"patch_size": [16, 16]}, ["patch_size", "whole number"]),
        (VIT | {"patch_size": 256}, ["patch_size 256"]),
        (VIT | {"qkv_bias": False}, ["qkv_bias", "no formula"]),
        (WAV2VEC2 | {"conv_dim": [256] * 7}, ["conv_dim", "no formula"]),
        (WAV2VEC2 | {"feat_extract_norm": "batch"}, ["feat_extract_norm", "'batch'"]),
        (WAV2VEC2 | {"conv_bias": True}, ["conv_bias", "group"]),
        ({"model_type": "llava"}, ["vision_config", "missing"]),
        (LLAVA | {"text_config": 7}, ["text_config", "not an object"]),
        (LLAVA | {"vision_config": {"model_type": "swin"}}, ["vision_config", "'swin'"]),
        (LLAVA | {"vision_feature_layer": [-2, -1]}, ["vision_feature_layer"]),
        (
            LLAVA | {"text_config": {"model_type": "llama", "vocab_size": -1}},
            ["text_config", "vocab_size", "-1"],
        ),
        ({"model_type": "resnet"}, ["no formula", "'resnet'", "vit"]),
    ],
)
def test_a_config_at_fault_is_refused_by_name(config: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(estimate.EstimateError) as error:
        estimate.shape_from_config(config)
    for word in words:
        assert word in str(error.value)
