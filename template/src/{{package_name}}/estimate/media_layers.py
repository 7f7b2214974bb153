"""Layers of models that see or hear: their linear maps, parameters and kept activations.

A Vision Transformer's layers are those of a text encoder; families differ in norms, biases and
activation. Checked against the modules of transformers 5.23: kept bytes with hooks on the tensors
that autograd saves, on fake tensors that take the kernels of a GPU.
"""

from .shapes import LinearMap, ModelShape
from .tables import EstimateError

# Families that cut an image or a spectrogram into patches and classify it whole.
PATCHED = ("vit", "deit", "dinov2", "dinov2_swiglu", "audio-spectrogram-transformer")

# Bytes kept for the backward pass per token and layer, in multiples of (h, hq + hk, f), without
# LoRA's adapters: the same meaning as in activations.py. The dropout of wav2vec2 and HuBERT is
# that of their configuration classes: a checkpoint without it on activations keeps 1 f less.
_MODES = [(s, m) for s in ("full", "lora") for m in ("mixed", "fp32", "pure_bf16")]
_LORA = [(16, 0, 2), (24, 0, 4), (12, 0, 2)]
_PLAIN = [(24, 0, 4), (32, 0, 8), (16, 0, 4), *_LORA]
_SPEECH = [(26, 0, 5), (34, 0, 9), (18, 0, 5), (18, 0, 3), (26, 0, 5), (14, 0, 3)]
_KEPT = {
    "vit": _PLAIN,
    "deit": _PLAIN,
    "audio-spectrogram-transformer": _PLAIN,
    "dinov2": [(28, 0, 4), (40, 0, 8), (20, 0, 4), *_LORA],  # inputs of its layer scales
    "dinov2_swiglu": [(30, 0, 8), (40, 0, 16), (20, 0, 8), (16, 0, 6), (24, 0, 12), (12, 0, 6)],
    "whisper": [(26, 0, 4), (32, 0, 8), (18, 0, 4), *_LORA],
    "wav2vec2": _SPEECH,
    "wav2vec2_norm": _SPEECH,
    "hubert": _SPEECH,
    "hubert_norm": _SPEECH,
    "clip": [(24, 0, 6), (32, 0, 12), (16, 0, 6), (16, 0, 4), (24, 0, 8), (12, 0, 4)],
    "siglip": _PLAIN,
    "idefics3": _PLAIN,
    "qwen2_vl": [(26, 0, 6), (44, 0, 12), (22, 0, 6), (20, 0, 4), (36, 0, 8), (16, 0, 4)],
    "qwen2_5_vl": [(36, 0, 8), (52, 0, 16), (30, 0, 8), (20, 0, 6), (36, 0, 12), (20, 0, 6)],
}
SAVED: dict[tuple[str, str, str], tuple[float, float, float]] = {
    (family, *mode): kept
    for family, rows in _KEPT.items()
    for mode, kept in zip(_MODES, rows, strict=True)
}


def new_shape(kind: str, family: str, hidden: int, heads: int, **numbers: int) -> ModelShape:
    """A shape with as many key as query heads, its parameters not counted yet."""
    if hidden % heads:
        raise EstimateError(
            f"config.json: {heads} attention heads do not divide a size of {hidden}"
        )
    sizes = {"params": 0, "vocab": 0, **numbers}
    same = {"heads": heads, "kv_heads": heads, "head_dim": hidden // heads}
    return ModelShape(kind=kind, family=family, hidden=hidden, tied=False, **same, **sizes)  # type: ignore[arg-type]


def layer_maps(shape: ModelShape) -> list[LinearMap]:
    """The linear maps in one layer of a vision or audio model or of a tower."""
    h, f, family = shape.hidden, shape.intermediate, shape.family
    if family.startswith("qwen"):
        attention = [
            LinearMap("qkv", h, 3 * h, "attention norm"),
            LinearMap("proj", h, h, "attention"),
        ]
    else:
        out = "o_proj" if family in PATCHED else "out_proj"
        attention = [LinearMap(f"{x}_proj", h, h, "attention norm") for x in "qkv"]
        attention.append(LinearMap(out, h, h, "attention"))
    if family in ("dinov2_swiglu", "qwen2_5_vl"):
        return [
            *attention,
            LinearMap("gate_proj", h, f, "mlp norm"),
            LinearMap("up_proj", h, f, "mlp norm"),
            LinearMap("down_proj", f, h, "mlp"),
        ]
    speech = family.startswith(("wav2vec2", "hubert"))
    first, second = ("intermediate_dense", "output_dense") if speech else ("fc1", "fc2")
    return [*attention, LinearMap(first, h, f, "mlp norm"), LinearMap(second, f, h, "mlp")]


def layer_parameters(shape: ModelShape) -> int:
    """Parameters of one layer: maps with their biases, norms, layer scales."""
    maps, h = layer_maps(shape), shape.hidden
    biases = sum(linear.outputs for linear in maps)
    vectors = 2 if shape.family == "qwen2_5_vl" else 4  # two norms, with a bias or without
    if shape.family.startswith("dinov2"):
        vectors += 2  # layer scales
    elif shape.family == "whisper":
        vectors -= 1  # keys have no bias
    return sum(linear.inputs * linear.outputs for linear in maps) + biases + vectors * h
