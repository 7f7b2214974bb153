"""Which linear maps `model.lora.target_modules` adapts."""

import re
from collections.abc import Sequence

from .shapes import ModelShape, layer_maps
from .tables import EstimateError

ALL_LINEAR = "all-linear"
# Where transformers keeps the layers of language models and image encoders, and their parts.
_LANGUAGE = ("model.layers", "model.language_model.layers", "model.text_model.layers")
_TOWERS = (
    "model.vision_tower.vision_model.encoder.layers",
    "model.vision_tower.encoder.layers",
    "model.vision_model.encoder.layers",
    "model.visual.blocks",
)
_PARTS = ("self_attn", "attn", "mlp")


def adapted(wanted: str | Sequence[str], shape: ModelShape) -> tuple[tuple[str, ...], bool]:
    """Names of the maps of a layer that get adapters, () for all; whether a tower's do, too.

    PEFT takes a string as a regular expression for the whole path of a module. Where it matches
    no path known here, all maps of the language model count. Raises EstimateError.
    """
    if not isinstance(wanted, str):
        return tuple(wanted), True
    if wanted == ALL_LINEAR:
        return (), True
    try:
        pattern = re.compile(wanted)
    except re.error as error:
        raise EstimateError(
            f"model.lora.target_modules: {wanted!r} is no regular expression: {error}"
        ) from None
    tower = _matched(pattern, shape.vision, _TOWERS) if shape.vision else ()
    return _matched(pattern, shape, _LANGUAGE), bool(tower)


def _matched(pattern: re.Pattern[str], shape: ModelShape, places: Sequence[str]) -> tuple[str, ...]:
    paths = [f"{place}.0.{part}." for place in places for part in _PARTS]
    names = dict.fromkeys(linear.name for linear in layer_maps(shape))
    return tuple(name for name in names if any(pattern.fullmatch(path + name) for path in paths))
