"""A usual architecture of a given size, where only a parameter count is known."""

import math
from dataclasses import replace

from .shapes import ModelShape, count_parameters
from .tables import EstimateError


def shape_from_parameters(params: float, kind: str) -> ModelShape:
    """A usual architecture with about that many parameters: nothing else is known of it.

    Decoders are like Llama 3 (grouped-query attention, 128 256 tokens, tied below 4e9), encoders
    like BERT. Raises EstimateError.
    """
    if kind not in ("decoder", "encoder"):
        raise EstimateError(f"a parameter count says too little about a {kind} model: name one")
    if not isinstance(params, (int, float)) or not 1e6 <= params <= 1e13:
        raise EstimateError(
            f"{params:.3g} parameters is no size of a model; give 1e6 to 1e13, such as 7e9"
        )
    step = 64 if params < 4e8 else 512 if params < 4e9 else 1024
    candidates = [_usual(kind, step * i, params) for i in range(1, 60)]
    return min(candidates, key=lambda shape: _oddness(shape, params))


def _usual(kind: str, hidden: int, params: float) -> ModelShape:
    """Of this width, with the number of layers that brings it nearest to so many parameters."""
    encoder, small = kind == "encoder", params < 4e9
    heads = max(1, hidden // (64 if small or encoder else 128))
    shape = ModelShape(
        kind=kind,
        params=0,
        hidden=hidden,
        intermediate=4 * hidden if encoder else 256 * round(3.5 * hidden / 256),
        layers=1,
        heads=heads,
        kv_heads=heads if encoder or heads % 8 else 8,
        head_dim=hidden // heads,
        vocab=30522 if encoder else 49152 if params < 5e8 else 128256,
        tied=not encoder and small,
        family="bert" if encoder else "llama",
        positions=512 if encoder else 0,
    )
    one, two = count_parameters(shape), count_parameters(replace(shape, layers=2))
    shape = replace(shape, layers=max(1, 1 + round((params - one) / (two - one))))
    return replace(shape, params=count_parameters(shape))


def _oddness(shape: ModelShape, params: float) -> float:
    """How far its size is from the wanted one, and its width from 64 to 128 times its depth."""
    usual = 64 if params < 4e8 else 80 if params < 4e9 else 128
    ratio = shape.hidden / shape.layers / usual
    return 10 * abs(math.log(shape.params / params)) + abs(math.log(ratio))
