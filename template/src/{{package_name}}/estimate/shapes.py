"""Model shapes: presets, config.json, and exact parameter counts."""

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from .tables import EstimateError, rows, suggest


@dataclass(frozen=True)
class ModelShape:
    """What decides a transformer's memory and speed; an encoder has a head for two labels."""

    kind: str  # decoder, encoder, vision, audio or vision_language
    params: int
    hidden: int
    intermediate: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    vocab: int
    tied: bool
    family: str
    positions: int = 0  # rows of the position embedding
    tokens: int = 0  # of one sample, where the model fixes it (images, audio)
    vision: "ModelShape | None" = None  # the tower of a vision-language model
    window: int = 0  # tokens that a layer with local attention sees; 0: all layers see all
    windowed_layers: int = 0


class LinearMap(NamedTuple):
    """One matrix of a layer: its module's name, sizes, and which activation it reads."""

    name: str
    inputs: int
    outputs: int
    reads: str  # two maps that read the same one keep its input once


class _Family(NamedTuple):
    """How a family's layers differ: how many vectors of size h, and of other sizes, they hold."""

    norms: int = 2  # vectors of size h in the norms of a layer; a bias counts as one
    final: int = 1  # the same in the last norm
    bias: str = ""  # of linear maps: "", qkv or all
    qk_norm: str = ""  # norms of queries and keys: "", head (one for all heads) or full
    plain_mlp: bool = False  # two maps instead of three with a gate
    head_bias: bool = False
    head_dim: int = 0  # where config.json leaves it out; 0: hidden / heads
    kv_default: bool = False  # kv_heads is heads where config.json leaves it out
    tied: bool = False  # where config.json leaves it out


DECODERS = {
    "llama": _Family(kv_default=True),
    "mistral": _Family(),
    "smollm3": _Family(tied=True),
    "qwen2": _Family(bias="qkv"),
    "qwen3": _Family(qk_norm="head", head_dim=128),
    "phi3": _Family(kv_default=True),
    "gemma": _Family(head_dim=256, tied=True),
    "gemma2": _Family(norms=4, head_dim=256, tied=True),
    "gemma3": _Family(norms=4, qk_norm="head", head_dim=256, tied=True),
    "olmo2": _Family(qk_norm="full", kv_default=True),
    "gpt2": _Family(norms=4, final=2, bias="all", plain_mlp=True, kv_default=True, tied=True),
    "gpt_neox": _Family(norms=4, final=2, bias="all", plain_mlp=True, kv_default=True),
    "phi": _Family(norms=2, final=2, bias="all", plain_mlp=True, head_bias=True, kv_default=True),
    "falcon": _Family(norms=2, final=2, plain_mlp=True, tied=True),
}
ENCODERS = ("bert", "roberta", "xlm-roberta", "distilbert", "modernbert", "deberta-v2")
_SEGMENTS = {"bert": 2, "roberta": 1, "xlm-roberta": 1, "deberta-v2": 0}
# Fields that some families call by other names.
_RENAMED = {
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
    "falcon": {"intermediate_size": "ffn_hidden_size", "num_key_value_heads": "num_kv_heads"},
}
# Settings under which a family's formula does not hold, beside those of all families.
_REFUSED: dict[str, dict[str, object]] = {
    "gpt2": {"add_cross_attention": False},
    "phi": {"qk_layernorm": False},
    "gpt_neox": {"attention_bias": True},
    "falcon": {
        "new_decoder_architecture": False,
        "multi_query": True,
        "parallel_attn": True,
        "bias": False,
        "alibi": False,
    },
    "deberta-v2": {
        "share_att_key": True,
        "position_biased_input": False,
        "norm_rel_ebd": "layer_norm",
        "relative_attention": True,
    },
}


@functools.cache
def models() -> dict[str, ModelShape]:
    """Preset shapes by hub id."""
    found: dict[str, ModelShape] = {}
    for row in rows("models"):
        values = {key: int(value) for key, value in row.items() if key in _NUMBERS and value}
        found[row["hub_id"]] = ModelShape(
            kind=row["kind"],
            family=row["family"],
            tied=row["tied"] == "true",
            vision=_tower(row.get("vision") or ""),
            **values,
        )
    return found


_NUMBERS = {"params", "hidden", "intermediate", "layers", "heads", "kv_heads", "head_dim"} | {
    "vocab",
    "positions",
    "tokens",
    "window",
    "windowed_layers",
}


def _tower(cell: str) -> ModelShape | None:
    """A tower written as `family params=… hidden=… …`; an empty cell is none."""
    if not cell:
        return None
    family, *fields = cell.split()
    values = {name: int(value) for name, value in (field.split("=") for field in fields)}
    numbers = {"kv_heads": values["heads"], "head_dim": values["hidden"] // values["heads"]}
    return ModelShape(kind="vision", family=family, tied=False, vocab=0, **{**numbers, **values})  # type: ignore[arg-type]


def find_model(hub_id: str) -> ModelShape:
    """The preset of a hub id or of its instruction-tuned variant. Raises EstimateError."""
    wanted = hub_id.strip().lower()
    by_name = {name.lower(): shape for name, shape in models().items()}
    for ending in ("", "-instruct", "-chat", "-base", "-it"):
        if wanted.endswith(ending) and wanted.removesuffix(ending) in by_name:
            return by_name[wanted.removesuffix(ending)]
    raise EstimateError(f"model {hub_id!r} is not a preset; {suggest(hub_id, models())}")


def shape_from_config(config: Mapping[str, object]) -> ModelShape:
    """The shape in a Hugging Face config.json. Raises EstimateError naming the field at fault."""
    if not isinstance(config, Mapping):
        raise EstimateError("config.json is not a JSON object")
    model_type = str(config.get("model_type", ""))
    if not model_type:
        raise EstimateError("config.json: model_type is missing")
    from . import media  # here, because it builds on this module

    if model_type in media.FAMILIES:
        return media.shape_from_config(config)
    family = model_type.removesuffix("_text")
    if family not in DECODERS and family not in ENCODERS:
        known = ", ".join((*DECODERS, *ENCODERS, *media.FAMILIES))
        raise EstimateError(f"config.json: no formula for model_type {family!r}, only for {known}")
    _refuse_variants(family, config)
    return _decoder(family, config) if family in DECODERS else _encoder(family, config)


def number(config: Mapping[str, object], key: str, default: int | None = None) -> int:
    """A size from config.json. Raises EstimateError naming the field."""
    key = _RENAMED.get(str(config.get("model_type")), {}).get(key, key)
    value = default if config.get(key) is None else config[key]
    if value is None:
        raise EstimateError(f"config.json: {key} is missing")
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= 10**9:
        raise EstimateError(f"config.json: {key} is {value!r}, not a positive whole number")
    return value


def _refuse_variants(family: str, config: Mapping[str, object]) -> None:
    for key, wanted in _REFUSED.get(family, {}).items():
        if config.get(key, wanted) != wanted:
            raise EstimateError(f"config.json: no formula for {family} with {key} {config[key]!r}")
    for key in ("attention_bias", "mlp_bias"):
        if config.get(key) and family in DECODERS and DECODERS[family].bias == "":
            raise EstimateError(f"config.json: there is no formula for {key}")
    if config.get("type_vocab_size", _SEGMENTS.get(family)) != _SEGMENTS.get(family):
        raise EstimateError(
            f"config.json: type_vocab_size is {config['type_vocab_size']!r}; there is a formula "
            f"only for {_SEGMENTS[family]}"
        )


def _decoder(family: str, config: Mapping[str, object]) -> ModelShape:
    like = DECODERS[family]
    hidden, heads = number(config, "hidden_size"), number(config, "num_attention_heads")
    layers = number(config, "num_hidden_layers")
    head_dim = like.head_dim or hidden // heads
    if family != "gpt2" and family != "gpt_neox":
        head_dim = number(config, "head_dim", head_dim or None)
    kv_heads = 1 if family == "falcon" else heads
    if family not in ("falcon", "gpt2", "gpt_neox"):
        kv_heads = number(config, "num_key_value_heads", heads if like.kv_default else None)
    if kv_heads > heads or heads % kv_heads:
        raise EstimateError(
            f"config.json: num_key_value_heads is {kv_heads}, which does not divide {heads} heads"
        )
    window, windowed = _window(family, config, layers)
    shape = ModelShape(
        kind="decoder",
        params=0,
        hidden=hidden,
        intermediate=number(
            config, "intermediate_size", 4 * hidden if family in ("gpt2", "falcon") else None
        ),
        layers=layers,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        vocab=number(config, "vocab_size"),
        tied=bool(config.get("tie_word_embeddings", like.tied)),
        family=family,
        positions=number(config, "max_position_embeddings") if family == "gpt2" else 0,
        window=window,
        windowed_layers=windowed,
    )
    return replace(shape, params=count_parameters(shape))


def _encoder(family: str, config: Mapping[str, object]) -> ModelShape:
    hidden, heads = number(config, "hidden_size"), number(config, "num_attention_heads")
    positions = number(config, "max_position_embeddings")
    if family == "deberta-v2":  # it embeds distances instead, to both sides
        buckets = config.get("position_buckets") or -1
        positions = 2 * (number(config, "position_buckets") if buckets != -1 else positions)
    layers = number(config, "num_hidden_layers")
    window, windowed = _window(family, config, layers)
    shape = ModelShape(
        kind="encoder",
        params=0,
        hidden=hidden,
        intermediate=number(config, "intermediate_size"),
        layers=layers,
        heads=heads,
        kv_heads=heads,
        head_dim=hidden // heads,
        vocab=number(config, "vocab_size"),
        tied=False,
        family=family,
        positions=positions,
        window=window,
        windowed_layers=windowed,
    )
    return replace(shape, params=count_parameters(shape))


def _window(family: str, config: Mapping[str, object], layers: int) -> tuple[int, int]:
    """The local attention's reach, and how many layers have it."""
    if family == "modernbert":
        every = number(config, "global_attn_every_n_layers", 3)
        return number(config, "local_attention", 128), layers - math.ceil(layers / every)
    if family == "gemma3":
        every = number(config, "sliding_window_pattern", 6)
        return number(config, "sliding_window", 4096), layers - layers // every
    if family == "gemma2":
        return number(config, "sliding_window", 4096), math.ceil(layers / 2)
    if family in ("mistral", "phi3") and config.get("sliding_window"):
        return number(config, "sliding_window"), layers
    return 0, 0


_ENCODER_MAPS = {
    "bert": "query key value dense dense dense",
    "deberta-v2": "query_proj key_proj value_proj dense dense dense",
    "distilbert": "q_lin k_lin v_lin out_lin lin1 lin2",
}


def layer_maps(shape: ModelShape) -> list[LinearMap]:
    """The linear maps of one layer, split and named as the modules of `transformers` do."""
    if shape.kind in ("vision", "audio"):
        from . import media_layers  # here, because it builds on this module

        return media_layers.layer_maps(shape)
    h, f = shape.hidden, shape.intermediate
    hq, hk = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    fused = hq + 2 * hk
    if shape.family == "phi3":
        return [
            LinearMap("qkv_proj", h, fused, "attention norm"),
            LinearMap("o_proj", hq, h, "attention"),
            LinearMap("gate_up_proj", h, 2 * f, "mlp norm"),
            LinearMap("down_proj", f, h, "mlp"),
        ]
    if shape.family == "modernbert":
        return [
            LinearMap("Wqkv", h, fused, "attention norm"),
            LinearMap("Wo", hq, h, "attention"),
            LinearMap("Wi", h, 2 * f, "mlp norm"),
            LinearMap("Wo", f, h, "mlp"),
        ]
    if shape.family == "gpt2":
        return [
            LinearMap("c_attn", h, fused, "attention norm"),
            LinearMap("c_proj", hq, h, "attention"),
            LinearMap("c_fc", h, f, "mlp norm"),
            LinearMap("c_proj", f, h, "mlp"),
        ]
    if shape.family in ("gpt_neox", "falcon"):
        norm = "attention norm" if shape.family == "falcon" else "mlp norm"  # one norm for both
        return [
            LinearMap("query_key_value", h, fused, "attention norm"),
            LinearMap("dense", hq, h, "attention"),
            LinearMap("dense_h_to_4h", h, f, norm),
            LinearMap("dense_4h_to_h", f, h, "mlp"),
        ]
    if shape.kind == "encoder":
        names = _ENCODER_MAPS.get(shape.family, _ENCODER_MAPS["bert"]).split()
        return [
            *(LinearMap(name, h, h, "attention norm") for name in names[:3]),
            LinearMap(names[3], h, h, "attention"),
            LinearMap(names[4], h, f, "mlp norm"),
            LinearMap(names[5], f, h, "mlp"),
        ]
    attention = [
        LinearMap("q_proj", h, hq, "attention norm"),
        LinearMap("k_proj", h, hk, "attention norm"),
        LinearMap("v_proj", h, hk, "attention norm"),
        LinearMap("dense" if shape.family == "phi" else "o_proj", hq, h, "attention"),
    ]
    if shape.family == "phi":
        return [*attention, LinearMap("fc1", h, f, "attention norm"), LinearMap("fc2", f, h, "mlp")]
    return [
        *attention,
        LinearMap("gate_proj", h, f, "mlp norm"),
        LinearMap("up_proj", h, f, "mlp norm"),
        LinearMap("down_proj", f, h, "mlp"),
    ]


def linear_maps(shape: ModelShape) -> list[tuple[int, int]]:
    """(inputs, outputs) of each linear map in one layer."""
    return [(linear.inputs, linear.outputs) for linear in layer_maps(shape)]


def count_parameters(shape: ModelShape) -> int:
    """Exact parameter count, read off the modules of `transformers` 5."""
    if shape.kind not in ("decoder", "encoder"):
        from . import media

        return media.count_parameters(shape)
    h, f, layers = shape.hidden, shape.intermediate, shape.layers
    embedding = shape.vocab * h
    linears = layers * sum(inputs * outputs for inputs, outputs in linear_maps(shape))
    if shape.kind == "decoder":
        like = DECODERS[shape.family]
        hq, hk = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
        per_layer = like.norms * h
        per_layer += {"": 0, "head": 2 * shape.head_dim, "full": hq + hk}[like.qk_norm]
        biases = {"": 0, "qkv": hq + 2 * hk, "all": sum(out for _, out in linear_maps(shape))}
        per_layer += biases[like.bias]
        ends = like.final * h + (shape.positions * h) + (shape.vocab if like.head_bias else 0)
        return linears + layers * per_layer + ends + embedding * (1 if shape.tied else 2)
    head = h * h + h + 2 * h + 2  # a dense layer and two labels
    if shape.family == "modernbert":  # no biases, and no attention norm in the first layer
        return embedding + h + linears + 2 * layers * h + head
    per_layer = 9 * h + f  # biases and two LayerNorms
    norms = 4 if shape.family == "deberta-v2" else 2  # of the embeddings, and of the distances
    tables = shape.positions + _SEGMENTS.get(shape.family, 0)
    return embedding + (tables + norms) * h + linears + layers * per_layer + head
