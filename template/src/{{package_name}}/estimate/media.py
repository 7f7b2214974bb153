"""Models that see or hear: shapes from config.json, parameter counts, what activations they keep.

A Vision Transformer's layers are those of a text encoder; what differs is what it reads. In a
shape of these kinds `tokens` is the length of one sample (an image, a sound) and `vocab` the
values behind one token before it is embedded: those of a patch, or the mel bands of a frame.
Checked against the modules of transformers 5.23: parameters on the meta device, kept bytes with
hooks on the tensors that autograd saves, on the shapes of a GPU's kernels.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from . import vision_language
from .media_layers import SAVED, layer_maps, layer_parameters, new_shape
from .shapes import ModelShape, number
from .tables import EstimateError
from .vision_language import VISION_LANGUAGE, tower_adapters

if TYPE_CHECKING:
    from .memory import Training

__all__ = [
    "FAMILIES",
    "SAVED",
    "count_parameters",
    "front_end",
    "layer_maps",
    "outside",
    "present",
    "shape_from_config",
    "tower_adapters",
]

VISION = ("vit", "deit", "dinov2")
AUDIO = ("whisper", "wav2vec2", "hubert", "audio-spectrogram-transformer")
FAMILIES = (*VISION, *AUDIO, *VISION_LANGUAGE)

SECONDS_OF_SOUND = 10  # a sample of wav2vec2 and HuBERT, which take any length
_CONV = 512  # channels of the convolutions that wav2vec2 hears with
_PROJECTION = 256  # width of the layer before an audio classifier's labels

_STANDARD_SPEECH: dict[str, object] = {
    "conv_dim": [_CONV] * 7,
    "conv_kernel": [10, 3, 3, 3, 3, 2, 2],
    "conv_stride": [5, 2, 2, 2, 2, 2, 2],
    "num_conv_pos_embeddings": 128,
    "num_conv_pos_embedding_groups": 16,
    "classifier_proj_size": _PROJECTION,
    "use_weighted_layer_sum": False,
    "add_adapter": False,
    "adapter_attn_dim": None,
    "feat_proj_layer_norm": True,
    "conv_pos_batch_norm": False,
}
# Settings without which a family's formula does not hold.
_EXPECTED: dict[str, dict[str, object]] = {
    "vit": {"qkv_bias": True},
    "deit": {"qkv_bias": True},
    "dinov2": {"qkv_bias": True},
    "audio-spectrogram-transformer": {"qkv_bias": True},
    "whisper": {"classifier_proj_size": _PROJECTION, "use_weighted_layer_sum": False},
    "wav2vec2": _STANDARD_SPEECH,
    "hubert": _STANDARD_SPEECH,
    "llava": {"multimodal_projector_bias": True},
}


def shape_from_config(config: Mapping[str, object]) -> ModelShape:
    """The shape in the config.json of one of FAMILIES, as our tasks load it.

    Images: with a head for two labels. Sound: likewise, of Whisper its encoder alone. Image and
    text: the language model is the shape, `vision` its tower, and `tokens` what one image adds
    to the text. Raises EstimateError naming the field at fault.
    """
    family = str(config.get("model_type", ""))
    if family not in FAMILIES:
        raise EstimateError(f"config.json: {family!r} is none of {', '.join(FAMILIES)}")
    for key, wanted in _EXPECTED.get(family, {}).items():
        value = config.get(key, wanted)
        if (list(value) if isinstance(value, (list, tuple)) else value) != wanted:
            raise EstimateError(f"config.json: there is no formula for {family} with {key} {value}")
    if family in VISION_LANGUAGE:
        return vision_language.shape_from_config(family, config)
    if family == "whisper":
        return _whisper(config)
    return _speech(family, config) if family in AUDIO[1:3] else _vision(family, config)


def _counted(shape: ModelShape, more: int = 0) -> ModelShape:
    return replace(shape, params=count_parameters(shape) + more)


def _vision(family: str, config: Mapping[str, object]) -> ModelShape:
    """ViT, DeiT and DINOv2 on images, and the Audio Spectrogram Transformer on spectrograms."""
    hidden, patch = number(config, "hidden_size"), number(config, "patch_size")
    if family == "audio-spectrogram-transformer":
        steps = {"num_mel_bins": "frequency_stride", "max_length": "time_stride"}
        high, long = (
            (number(config, side) - patch) // number(config, step) + 1
            for side, step in steps.items()
        )
        patches, values, first = high * long, patch**2, 2
    else:
        patches = (number(config, "image_size") // patch) ** 2
        values, first = number(config, "num_channels", 3) * patch**2, 2 if family == "deit" else 1
    if patches < 1:
        raise EstimateError(f"config.json: patch_size {patch} is larger than what it cuts")
    tokens = patches + first
    if family == "dinov2":
        intermediate = hidden * number(config, "mlp_ratio")
        if config.get("use_swiglu_ffn"):  # a gate's third map is paid for by two thirds of width
            family, intermediate = "dinov2_swiglu", (intermediate * 2 // 3 + 7) // 8 * 8
        # trained at 518 pixels, but its image processor crops to 224
        tokens = min(tokens, (224 // patch) ** 2 + first)
    else:
        intermediate = number(config, "intermediate_size")
    shape = new_shape(
        "audio" if family == "audio-spectrogram-transformer" else "vision",
        family,
        hidden,
        number(config, "num_attention_heads"),
        intermediate=intermediate,
        layers=number(config, "num_hidden_layers"),
        vocab=values,
        positions=patches + first,
        tokens=tokens,
    )
    masked = family.startswith("dinov2") and not config.get("use_mask_token", True)
    return _counted(shape, -hidden if masked else 0)


def _whisper(config: Mapping[str, object]) -> ModelShape:
    """Its encoder, which hears 30 seconds whatever the length of the sound."""
    frames = number(config, "max_source_positions")
    shape = new_shape(
        "audio",
        "whisper",
        number(config, "d_model"),
        number(config, "encoder_attention_heads"),
        intermediate=number(config, "encoder_ffn_dim"),
        layers=number(config, "encoder_layers"),
        vocab=number(config, "num_mel_bins"),
        positions=frames,
        tokens=frames,
    )
    return _counted(shape)


def _speech(family: str, config: Mapping[str, object]) -> ModelShape:
    """wav2vec2 and HuBERT, with the front-end of convolutions frozen."""
    norm = config.get("feat_extract_norm", "group")
    if norm not in ("group", "layer"):
        raise EstimateError(f"config.json: feat_extract_norm is {norm!r}, neither group nor layer")
    if bool(config.get("conv_bias", False)) != (norm == "layer"):
        raise EstimateError(
            f"config.json: there is no formula for feat_extract_norm {norm} "
            f"with conv_bias {config.get('conv_bias', False)}"
        )
    tokens = SECONDS_OF_SOUND * 16000
    for kernel, stride in zip((10, 3, 3, 3, 3, 2, 2), (5, 2, 2, 2, 2, 2, 2), strict=True):
        tokens = (tokens - kernel) // stride + 1
    shape = new_shape(
        "audio",
        f"{family}_norm" if norm == "layer" else family,
        number(config, "hidden_size"),
        number(config, "num_attention_heads"),
        intermediate=number(config, "intermediate_size"),
        layers=number(config, "num_hidden_layers"),
        tokens=tokens,
    )
    masks = config.get("mask_time_prob", 0.05) or config.get("mask_feature_prob", 0.0)
    return _counted(shape, 0 if masks else -shape.hidden)


# Vectors of size h before and after the layers, beside patches and positions: tokens put first,
# masks, the bias of the patches, the last norm, the head for two labels.
_PREFIXES = {
    "vit": 6,
    "deit": 7,
    "dinov2": 9,
    "dinov2_swiglu": 9,
    "audio-spectrogram-transformer": 9,
}


def count_parameters(shape: ModelShape) -> int:
    """Exact, with the front-end and a head for two labels; image and text: all three parts."""
    h, family = shape.hidden, shape.family
    if shape.kind == "vision_language":
        return vision_language.count_parameters(shape)
    layers = shape.layers * layer_parameters(shape)
    if family in _PREFIXES:
        return layers + h * (shape.positions + shape.vocab + _PREFIXES[family]) + 2
    head = _PROJECTION * (h + 1) + 2 * (_PROJECTION + 1)
    if family == "whisper":  # two convolutions of width 3 before, a norm after
        return layers + h * (3 * shape.vocab + 3 * h + 2 + shape.positions + 2) + head
    if shape.kind != "audio":
        raise EstimateError(f"the parameters of a {family} tower are counted from its config.json")
    convolutions = _CONV * 10 + _CONV**2 * (4 * 3 + 2 * 2)
    norms = 7 * 3 * _CONV if family.endswith("_norm") else 2 * _CONV
    projection = 2 * _CONV + _CONV * h + h
    positions = h * (h // 16) * 128 + 128 + h  # a convolution over 128 frames in 16 groups
    return layers + convolutions + norms + projection + h + positions + 2 * h + head


def outside(shape: ModelShape, training: "Training") -> float:
    """Bytes kept for the backward pass outside the layers of `shape`, for a micro-batch.

    Of images and sound: the embedding, the last norm, autocast's copies of weights that are in
    no layer. Of a vision-language model: its tower and what joins it, with one image a row. A
    tower without an adapter is frozen and keeps nothing.
    """
    mode = training.mode
    wide, stream = 4 if mode == "fp32" else 2, 2 if mode == "pure_bf16" else 4
    full, h = training.strategy == "full", shape.hidden
    if shape.kind == "vision_language":
        return vision_language.outside(shape, training)
    rows = training.micro_batch_size * shape.tokens
    reached = full or training.activation_checkpointing  # PEFT: then inputs get gradients, too
    casts = 0
    if shape.family in _PREFIXES:
        kept = stream * h if full else 2 * h if reached else 0
        if shape.family in ("vit", "deit") and mode != "mixed":  # the head reads the first token,
            kept += stream * h  # a view that keeps the rest alive
        if full and mode == "mixed":
            kept, casts = kept + 2 * shape.vocab, 2 * shape.vocab * h
    elif shape.family == "whisper":
        kept = wide * h + (5 * wide * h if reached else 0) + (stream * h if full else 0)
        if full and mode == "mixed":
            kept, casts = kept + 4 * shape.vocab, 6 * h * (shape.vocab + h)
    else:  # the front-end is frozen, but not the projection of what it hears
        kept = (3 * wide + stream + 1) * h
        kept += (stream + wide if full else 2 if mode == "mixed" else 4) * _CONV
        if not shape.family.endswith("_norm") and not training.activation_checkpointing:
            # the classifier asks for every layer's output, else kept as the next one's input
            held = {"mixed": 4, "pure_bf16": 0 if full else 2, "fp32": 0}[mode]
            kept += held * h * shape.layers
        casts = 8 * wide * h**2  # the positional convolution's weight is a product
        casts += 2 * _CONV * h if full and mode == "mixed" else 0
    if shape.kind == "audio" and shape.family not in _PREFIXES and mode == "mixed":
        casts += 2 * _PROJECTION * h
    return kept * rows + casts


def present(shape: ModelShape, training: "Training") -> float:
    """Bytes in use during a step that the backward pass does not ask for.

    The micro-batch of images or sound itself, and the 16-bit output of every layer where a
    classifier of sound has them all listed and the norms keep copies in fp32.
    """
    if shape.kind not in ("vision", "audio"):
        return 0.0
    values = float(shape.vocab)  # behind one token
    if shape.family == "whisper":
        values *= 2  # frames
    elif shape.family == "audio-spectrogram-transformer":
        values *= 0.4  # its patches overlap
    elif shape.family not in _PREFIXES:
        values = 320  # numbers in 20 ms of sound
    kept = (2 if training.mode == "pure_bf16" else 4) * values
    listed = shape.family.endswith("_norm") and not training.activation_checkpointing
    if listed and training.mode == "mixed":
        kept += 2 * shape.hidden * shape.layers
    return kept * shape.tokens * training.micro_batch_size


def front_end(shape: ModelShape, training: "Training") -> float:
    """Bytes in use at once while the frozen convolutions of wav2vec2 or HuBERT run.

    Before any layer: the first convolution's output for each 64th part of a token's 20 ms, its
    norm and its activation; under autocast the norm is in fp32. The peak where checkpoints make
    all that follows small.
    """
    if not shape.family.startswith(("wav2vec2", "hubert")):
        return 0.0
    per_value = {"mixed": 10, "fp32": 8, "pure_bf16": 4}[training.mode]
    return per_value * _CONV * 64.0 * shape.tokens * training.micro_batch_size
