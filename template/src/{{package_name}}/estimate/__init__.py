"""Memory, time and cost of a training run, from the shape of the model alone.

Standard library only and quick to import: the project's questionnaire, the doctor and
`scripts/estimate.py` all use this package. Bytes are those that PyTorch allocates on one GPU.
In the formulas T is tokens in a micro-batch, h hidden, hq heads * head_dim, hk kv_heads *
head_dim, f intermediate, V vocab. Each row of the tables in `tables/` names its source.
"""

from .cost import cost_usd, energy_kwh, flops_per_token, training_hours
from .inference import decode_tokens_per_s, inference_memory, prefill_tokens_per_s
from .memory import CONTEXT_GIB, FRAGMENTATION, GIB, Memory, Training, fits, training_memory
from .shapes import (
    ModelShape,
    count_parameters,
    find_model,
    models,
    shape_from_config,
)
from .tables import (
    OLD_PRICE_DAYS,
    EstimateError,
    Gpu,
    Price,
    Quote,
    Range,
    find_gpu,
    gpus,
    prices,
    quotes,
)
from .typical import shape_from_parameters

__all__ = [
    "CONTEXT_GIB",
    "FRAGMENTATION",
    "GIB",
    "OLD_PRICE_DAYS",
    "EstimateError",
    "Gpu",
    "Memory",
    "ModelShape",
    "Price",
    "Quote",
    "Range",
    "Training",
    "cost_usd",
    "count_parameters",
    "decode_tokens_per_s",
    "energy_kwh",
    "find_gpu",
    "find_model",
    "fits",
    "flops_per_token",
    "gpus",
    "inference_memory",
    "models",
    "prefill_tokens_per_s",
    "prices",
    "quotes",
    "shape_from_config",
    "shape_from_parameters",
    "training_hours",
    "training_memory",
]
