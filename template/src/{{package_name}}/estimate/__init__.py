"""Memory, time and cost of a training run, from the shape of the model alone.

Standard library only and quick to import: the project's questionnaire, the doctor and
`scripts/estimate.py` all use this package. Bytes are those that PyTorch allocates on one GPU.
In the formulas T is tokens in a micro-batch, h hidden, hq heads * head_dim, hk kv_heads *
head_dim, f intermediate, V vocab. Each row of the tables in `tables/` names its source.
"""

from .cost import cost_usd, flops_per_token, training_hours
from .memory import CONTEXT_GIB, FRAGMENTATION, GIB, Memory, fits, training_memory
from .shapes import ModelShape, count_parameters, find_model, models, shape_from_config
from .tables import EstimateError, Gpu, Price, Range, find_gpu, gpus, prices

__all__ = [
    "CONTEXT_GIB",
    "FRAGMENTATION",
    "GIB",
    "EstimateError",
    "Gpu",
    "Memory",
    "ModelShape",
    "Price",
    "Range",
    "cost_usd",
    "count_parameters",
    "find_gpu",
    "find_model",
    "fits",
    "flops_per_token",
    "gpus",
    "models",
    "prices",
    "shape_from_config",
    "training_hours",
    "training_memory",
]
