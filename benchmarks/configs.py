"""The config.json of the models that the benchmarks build."""

from __future__ import annotations

import math
from typing import Any

# Models of the held-out cases that are no presets.
GIVEN: dict[str, dict[str, Any]] = {
    "facebook/dinov2-giant": {
        "model_type": "dinov2",
        "hidden_size": 1536,
        "num_hidden_layers": 40,
        "num_attention_heads": 24,
        "mlp_ratio": 4,
        "image_size": 518,
        "patch_size": 14,
        "use_swiglu_ffn": True,
    },
    "llava-hf/llava-1.5-7b-hf": {
        "model_type": "llava",
        "tie_word_embeddings": False,
        "text_config": {
            "model_type": "llama",
            "vocab_size": 32064,
            "hidden_size": 4096,
            "intermediate_size": 11008,
            "num_hidden_layers": 32,
            "num_attention_heads": 32,
        },
        "vision_config": {
            "model_type": "clip_vision_model",
            "hidden_size": 1024,
            "intermediate_size": 4096,
            "num_hidden_layers": 24,
            "num_attention_heads": 16,
            "image_size": 336,
            "patch_size": 14,
        },
    },
    "Qwen/Qwen2.5-VL-7B-Instruct": {
        "model_type": "qwen2_5_vl",
        "tie_word_embeddings": False,
        "text_config": {
            "model_type": "qwen2_5_vl_text",
            "hidden_size": 3584,
            "intermediate_size": 18944,
            "num_hidden_layers": 28,
            "num_attention_heads": 28,
            "num_key_value_heads": 4,
            "vocab_size": 152064,
        },
        "vision_config": {
            "model_type": "qwen2_5_vl",
            "depth": 32,
            "hidden_size": 1280,
            "intermediate_size": 3420,
            "num_heads": 16,
            "out_hidden_size": 3584,
            "patch_size": 14,
        },
    },
}


def as_config(shape: Any) -> dict[str, Any]:
    """The config.json that has this shape, of any kind but one with a tower."""
    if shape.kind in ("vision", "audio"):
        return media_config(shape)
    model_type = "gemma3_text" if shape.family == "gemma3" else shape.family
    values: dict[str, Any] = {
        "model_type": model_type,
        "hidden_size": shape.hidden,
        "intermediate_size": shape.intermediate,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "vocab_size": shape.vocab,
    }
    if shape.kind == "decoder":
        values |= {"num_key_value_heads": shape.kv_heads, "tie_word_embeddings": shape.tied}
        if shape.family not in ("gpt2", "gpt_neox", "phi", "falcon"):
            values["head_dim"] = shape.head_dim
        if shape.family == "gpt2":
            values["max_position_embeddings"] = shape.positions
    elif shape.family == "deberta-v2":
        values |= {
            "position_buckets": shape.positions // 2,
            "relative_attention": True,
            "pos_att_type": ["p2c", "c2p"],
            "norm_rel_ebd": "layer_norm",
            "share_att_key": True,
            "position_biased_input": False,
            "type_vocab_size": 0,
        }
    else:
        values["max_position_embeddings"] = shape.positions
        if shape.family in ("roberta", "xlm-roberta"):
            values["type_vocab_size"] = 1
    renamed = {
        "distilbert": {
            "hidden_size": "dim",
            "intermediate_size": "hidden_dim",
            "num_hidden_layers": "n_layers",
            "num_attention_heads": "n_heads",
        },
        "gpt2": {
            "hidden_size": "n_embd",
            "intermediate_size": "n_inner",
            "num_hidden_layers": "n_layer",
            "num_attention_heads": "n_head",
            "max_position_embeddings": "n_positions",
        },
        "falcon": {"intermediate_size": "ffn_hidden_size"},
    }.get(shape.family, {})
    return {renamed.get(key, key): value for key, value in values.items()}


def media_config(shape: Any) -> dict[str, Any]:
    """The same of a model that sees or hears."""
    family = shape.family.removesuffix("_norm").removesuffix("_swiglu")
    sizes = {
        "hidden_size": shape.hidden,
        "intermediate_size": shape.intermediate,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
    }
    if family == "whisper":
        names = ("d_model", "encoder_ffn_dim", "encoder_layers", "encoder_attention_heads")
        values = dict(zip(names, sizes.values(), strict=True))
        return {"model_type": family, "num_mel_bins": shape.vocab, **values}
    if family in ("wav2vec2", "hubert"):
        layered = shape.family.endswith("_norm")
        sizes["conv_bias"] = layered
        norm = {"feat_extract_norm": "layer" if layered else "group"}
        return {"model_type": family, "do_stable_layer_norm": layered, **sizes, **norm}
    if family in ("vit", "deit", "dinov2"):
        sizes["patch_size"] = math.isqrt(shape.vocab // 3)
        if family == "dinov2":
            side = math.isqrt(shape.positions - 1) * sizes["patch_size"]
            sizes |= {"mlp_ratio": shape.intermediate // shape.hidden, "image_size": side}
    return {"model_type": family, **sizes}
