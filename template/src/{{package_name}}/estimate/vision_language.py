"""Image and text in, text out: a language model, a tower that sees for it, and what joins them."""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from .media_layers import SAVED, layer_maps, layer_parameters, new_shape
from .shapes import LinearMap, ModelShape, number
from .shapes import count_parameters as count_decoder
from .shapes import shape_from_config as language_model
from .tables import EstimateError

if TYPE_CHECKING:
    from .memory import Training

VISION_LANGUAGE = ("llava", "qwen2_vl", "qwen2_5_vl", "idefics3", "smolvlm", "gemma3")
TILES = 17  # SmolVLM and Idefics3 cut a square image into 4 x 4 tiles and add the whole
QWEN_IMAGE_PX = 896  # side of an image for Qwen, which takes any size

# What the configuration classes of transformers fill in where a part's section leaves it out.
_SIGLIP = {"hidden_size": 768, "intermediate_size": 3072, "patch_size": 16, "image_size": 224}
_IDEFICS = {**_SIGLIP, "hidden_size": 1152, "patch_size": 32}
_TWELVE = {"num_hidden_layers": 12, "num_attention_heads": 12}
_QWEN = {"depth": 32, "patch_size": 14, "num_heads": 16, "hidden_size": 3584}
_DEFAULTS: dict[str, dict[str, object]] = {
    "clip_vision_model": {**_SIGLIP, **_TWELVE, "patch_size": 32},
    "siglip_vision_model": {**_SIGLIP, **_TWELVE, "vision_use_head": True},
    "idefics3": {**_IDEFICS, **_TWELVE, "num_attention_heads": 16},
    "qwen2_vl": {**_QWEN, "embed_dim": 1280, "mlp_ratio": 4},
    "qwen2_5_vl": {**_QWEN, "intermediate_size": 3420, "out_hidden_size": 3584},
    "llama": {
        "hidden_size": 4096,
        "intermediate_size": 11008,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "vocab_size": 32000,
    },
    "gemma3_text": {
        "vocab_size": 262208,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "head_dim": 256,
    },
}


def shape_from_config(family: str, config: Mapping[str, object]) -> ModelShape:
    """A language model and the tower that sees for it."""
    if family == "llava" and not isinstance(config.get("vision_feature_layer", -2), int):
        raise EstimateError("config.json: no formula for several layers in vision_feature_layer")
    vision, text = _section(config, "vision_config"), config
    if "text_config" in config or not family.startswith("qwen"):  # Qwen's are flat in old files
        text = _section(config, "text_config")
    text_type = str(text.get("model_type", "gemma3_text" if family == "gemma3" else "llama"))
    if family.startswith("qwen"):
        text_type = "qwen2"
    tied = config.get("tie_word_embeddings", family == "gemma3")
    text = {**_DEFAULTS.get(text_type, {}), **text, "tie_word_embeddings": tied}
    tower_type = str(vision.get("model_type", "")) if family == "llava" else family
    if family == "gemma3":
        tower_type = "siglip_vision_model"
    elif family in ("idefics3", "smolvlm"):
        tower_type = "idefics3"
    if tower_type not in _DEFAULTS:
        raise EstimateError(f"config.json, vision_config: no formula for model_type {tower_type!r}")
    try:
        language = language_model({**text, "model_type": text_type})
    except EstimateError as error:
        raise _within("text_config", error) from None
    try:
        tower = _tower(tower_type, {**_DEFAULTS[tower_type], **vision})
        if family in ("idefics3", "smolvlm"):
            scale = number(config, "scale_factor", 2)
            tiles = _tiles(vision, number({**_DEFAULTS[tower_type], **vision}, "image_size"))
            tokens = tiles * (tower.tokens // scale**2)
            tower = replace(tower, tokens=tiles * tower.tokens)
        elif family == "gemma3":
            tokens = number(config, "mm_tokens_per_image", 256)
        elif family == "llava":  # without the class token
            tokens = tower.tokens - (1 if tower.family == "clip" else 0)
        else:
            tokens = tower.tokens // 4  # the merger joins 2 x 2
    except EstimateError as error:
        raise _within("vision_config", error) from None
    shape = replace(language, kind="vision_language", tokens=tokens, vision=tower)
    return replace(shape, params=count_parameters(shape))


def _section(config: Mapping[str, object], name: str) -> Mapping[str, object]:
    section = config.get(name)
    if not isinstance(section, Mapping):
        wrong = "missing" if section is None else "not an object"
        raise EstimateError(f"config.json: {name} is {wrong}")
    return section


def _within(section: str, error: EstimateError) -> EstimateError:
    return EstimateError(str(error).replace("config.json:", f"config.json, {section}:", 1))


def _tiles(vision: Mapping[str, object], tile_px: int) -> int:
    """Pictures that a square image becomes: its tiles, and the whole once more."""
    size = vision.get("size")
    longest = size.get("longest_edge") if isinstance(size, Mapping) else None
    return (longest // tile_px) ** 2 + 1 if isinstance(longest, int) else TILES


def _tower(model_type: str, config: Mapping[str, object]) -> ModelShape:
    """The tower alone, without what joins it to the language model."""
    patch, channels = number(config, "patch_size"), number(config, "num_channels", 3)
    if model_type.startswith("qwen"):
        family, side = model_type, QWEN_IMAGE_PX // patch
        hidden = number(config, "embed_dim" if family == "qwen2_vl" else "hidden_size")
        heads, layers = number(config, "num_heads"), number(config, "depth")
        positions, pair = 0, number(config, "temporal_patch_size", 2)  # an image is two frames
        intermediate = (
            hidden * number(config, "mlp_ratio")
            if family == "qwen2_vl"
            else number(config, "intermediate_size")
        )
        ends = channels * pair * patch**2 * hidden
    else:
        family = model_type.removesuffix("_vision_model")
        side = number(config, "image_size") // patch
        hidden, heads = number(config, "hidden_size"), number(config, "num_attention_heads")
        layers = number(config, "num_hidden_layers")
        intermediate = number(config, "intermediate_size")
        positions = side**2 + (1 if family == "clip" else 0)
        # patches and positions; the class and two norms, or a bias and one norm
        ends = hidden * (channels * patch**2 + positions + (5 if family == "clip" else 3))
        if family == "siglip" and config.get("vision_use_head"):  # attention pooling, unused
            ends += hidden * (4 * hidden + 2 * intermediate + 8) + intermediate
    shape = new_shape(
        "vision",
        family,
        hidden,
        heads,
        intermediate=intermediate,
        layers=layers,
        positions=positions,
        tokens=positions or side**2,
    )
    return replace(shape, params=ends + layers * layer_parameters(shape))


def count_parameters(shape: ModelShape) -> int:
    """Exact: language model, tower, and what joins them."""
    if shape.vision is None:
        raise EstimateError("a vision-language shape has no tower")
    language = count_decoder(replace(shape, kind="decoder"))
    return language + shape.vision.params + _joint(shape, shape.vision)


def _joint(shape: ModelShape, tower: ModelShape) -> int:
    h, wide = tower.hidden, shape.hidden
    if tower.family.startswith("qwen"):  # a norm, and two maps of 2 x 2 patches together
        norm = 2 * h if tower.family == "qwen2_vl" else h
        return norm + 4 * h * (4 * h + 1) + (4 * h + 1) * wide
    if tower.family == "idefics3":
        return tower.tokens // shape.tokens * h * wide
    if shape.family == "gemma3":
        return h * wide + h
    return (h + 1) * wide + (wide + 1) * wide


def adapted_maps(shape: ModelShape, training: "Training") -> list[LinearMap]:
    """Linear maps in a layer of the tower that get an adapter: those that the targets name."""
    if shape.vision is None or training.strategy == "full" or not training.lora_in_tower:
        return []
    wanted = set(training.lora_targets)
    return [linear for linear in layer_maps(shape.vision) if not wanted or linear.name in wanted]


def tower_adapters(shape: ModelShape, training: "Training") -> int:
    """Parameters of the adapters in the tower of a vision-language model."""
    tower = shape.vision
    ends = sum(linear.inputs + linear.outputs for linear in adapted_maps(shape, training))
    return training.lora_rank * ends * tower.layers if tower else 0


def outside(shape: ModelShape, training: "Training") -> float:
    """Bytes that the tower and what joins it keep for the backward pass, one image a row."""
    # here, because it builds on this module
    from .activations import adapters_per_token, wide_norms_per_token

    tower, full = shape.vision, training.strategy == "full"
    mode = training.mode
    adapted = adapted_maps(shape, training)
    if tower is None or not (full or adapted):
        return 0
    wide, stream = 4 if mode == "fp32" else 2, 2 if mode == "pure_bf16" else 4
    h, f = tower.hidden, tower.intermediate
    rows = training.micro_batch_size * tower.tokens
    per_h, per_heads, per_f = SAVED[tower.family, "full" if full else "lora", mode]
    layer = per_h * h + per_heads * 2 * h + per_f * f + 4 * tower.heads + 16
    layer += wide_norms_per_token(tower, training)
    if adapted:
        layer += adapters_per_token(tower, training, adapted)
    if training.activation_checkpointing:
        layer = stream * h
    casts = 0
    if full and mode == "mixed" and not training.activation_checkpointing:
        weights = sum(linear.inputs * linear.outputs for linear in layer_maps(tower))
        casts = 2 * tower.layers * weights
    # the tower's last norm and what the joint reads from it; the joint's own activations
    ends = (stream + wide) * h * rows
    joint = 2 * wide * shape.hidden * training.micro_batch_size * shape.tokens
    return tower.layers * layer * rows + casts + ends + joint
