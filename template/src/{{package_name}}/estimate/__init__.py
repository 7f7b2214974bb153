"""Memory, time and cost of a training run, from the shape of the model alone.

Standard library only and quick to import: the project's questionnaire, the doctor and
`scripts/estimate.py` all use this package. Bytes are those that PyTorch allocates on one GPU.
In the formulas T is tokens in a micro-batch, h hidden, hq heads * head_dim, hk kv_heads *
head_dim, f intermediate, V vocab. Each row of the tables in `tables/` names its source.
"""

from typing import TYPE_CHECKING

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

if TYPE_CHECKING:
    from .cost import cost_usd, energy_kwh, flops_per_token, training_hours
    from .inference import decode_tokens_per_s, inference_memory, prefill_tokens_per_s
    from .memory import CONTEXT_GIB, FRAGMENTATION, GIB, Memory, Training, fits, training_memory
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

# Imported when one of their names is first used: a questionnaire about a CPU needs no cost, and
# few callers need inference. Each imports those before it, so the search does no work in vain.
_LATER = ("memory", "cost", "typical", "inference")

if not TYPE_CHECKING:  # a type checker takes the names from above, and finds the misspelt ones

    def __getattr__(name: str) -> object:
        """Find a name of `__all__` in the modules that are not imported yet."""
        from importlib import import_module

        for module in _LATER if name in __all__ else ():
            found = getattr(import_module(f".{module}", __name__), name, None)
            if found is not None:
                globals()[name] = found
                return found
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
