"""Model shapes: presets, config.json, and exact parameter counts."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass, replace

from .tables import EstimateError, rows, suggest


@dataclass(frozen=True)
class ModelShape:
    """What decides a transformer's memory and speed; an encoder has a head for two labels."""

    kind: str  # decoder or encoder
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
    positions: int = 0  # rows of the position embedding, for encoders


@functools.cache
def models() -> dict[str, ModelShape]:
    """Preset shapes by hub id."""
    words = {"hub_id", "kind", "family", "tied", "source"}
    return {
        row["hub_id"]: ModelShape(
            kind=row["kind"],
            family=row["family"],
            tied=row["tied"] == "true",
            **{key: int(value or 0) for key, value in row.items() if key not in words},
        )
        for row in rows("models")
    }


def find_model(hub_id: str) -> ModelShape:
    """The preset of a hub id or of its instruction-tuned variant. Raises EstimateError."""
    wanted = hub_id.strip().lower()
    by_name = {name.lower(): shape for name, shape in models().items()}
    for ending in ("", "-instruct", "-chat", "-base", "-it"):
        if wanted.endswith(ending) and wanted.removesuffix(ending) in by_name:
            return by_name[wanted.removesuffix(ending)]
    raise EstimateError(f"model {hub_id!r} is not a preset; {suggest(hub_id, models())}")


_DECODERS = ("llama", "mistral", "smollm3", "qwen2", "qwen3", "phi3", "gemma3")
_ENCODERS = ("bert", "roberta", "xlm-roberta", "distilbert", "modernbert")
_DISTILBERT = {
    "hidden_size": "dim",
    "intermediate_size": "hidden_dim",
    "num_hidden_layers": "n_layers",
    "num_attention_heads": "n_heads",
}


def shape_from_config(config: Mapping[str, object]) -> ModelShape:
    """The shape in a Hugging Face config.json. Raises EstimateError naming the field at fault."""
    family = str(config.get("model_type", "")).removesuffix("_text")
    if family not in _DECODERS + _ENCODERS:
        known = ", ".join(_DECODERS + _ENCODERS)
        raise EstimateError(f"config.json: no formula for model_type {family!r}, only for {known}")
    for key in ("attention_bias", "mlp_bias"):
        if config.get(key) and family != "qwen2":
            raise EstimateError(f"config.json: there is no formula for {key}")

    def number(key: str, default: int | None = None) -> int:
        key = _DISTILBERT.get(key, key) if family == "distilbert" else key
        value = default if config.get(key) is None else config[key]
        if value is None:
            raise EstimateError(f"config.json: {key} is missing")
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise EstimateError(f"config.json: {key} is {value!r}, not a positive whole number")
        return value

    decoder = family in _DECODERS
    hidden, heads = number("hidden_size"), number("num_attention_heads")
    # Families whose configuration class fills a field in differently must state it.
    explicit = family in ("gemma3", "smollm3")
    shape = ModelShape(
        kind="decoder" if decoder else "encoder",
        params=0,
        hidden=hidden,
        intermediate=number("intermediate_size"),
        layers=number("num_hidden_layers"),
        heads=heads,
        kv_heads=number("num_key_value_heads", None if explicit else heads) if decoder else heads,
        head_dim=number("head_dim", hidden // heads) if decoder else hidden // heads,
        vocab=number("vocab_size"),
        tied=decoder and bool(config.get("tie_word_embeddings", explicit)),
        family=family,
        positions=0 if decoder else number("max_position_embeddings"),
    )
    return replace(shape, params=count_parameters(shape))


def linear_maps(shape: ModelShape) -> list[tuple[int, int]]:
    """(inputs, outputs) of each linear map in one layer, split as the modules split them."""
    h, f = shape.hidden, shape.intermediate
    hq, hk = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    if shape.family == "phi3":
        return [(h, hq + 2 * hk), (hq, h), (h, 2 * f), (f, h)]
    if shape.family == "modernbert":
        return [(h, 3 * h), (h, h), (h, 2 * f), (f, h)]
    if shape.kind == "encoder":
        return [(h, h), (h, h), (h, h), (h, h), (h, f), (f, h)]
    return [(h, hq), (h, hk), (h, hk), (hq, h), (h, f), (h, f), (f, h)]


def count_parameters(shape: ModelShape) -> int:
    """Exact parameter count, read off the modules of `transformers` 5."""
    h, f, layers = shape.hidden, shape.intermediate, shape.layers
    embedding = shape.vocab * h
    linears = layers * sum(inputs * outputs for inputs, outputs in linear_maps(shape))
    if shape.kind == "decoder":
        per_layer = (4 if shape.family == "gemma3" else 2) * h  # norms
        if shape.family in ("qwen3", "gemma3"):  # norms of queries and keys
            per_layer += 2 * shape.head_dim
        if shape.family == "qwen2":  # biases of queries, keys and values
            per_layer += (shape.heads + 2 * shape.kv_heads) * shape.head_dim
        return linears + layers * per_layer + h + embedding * (1 if shape.tied else 2)
    head = h * h + h + 2 * h + 2  # a dense layer and two labels
    if shape.family == "modernbert":  # no biases, and no attention norm in the first layer
        return embedding + h + linears + 2 * layers * h + head
    segments = {"bert": 2, "distilbert": 0}.get(shape.family, 1)
    per_layer = 9 * h + f  # biases and two LayerNorms
    return embedding + (shape.positions + segments + 2) * h + linears + layers * per_layer + head
