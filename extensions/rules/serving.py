"""What a machine that serves the model needs."""

from __future__ import annotations

import math
from typing import NamedTuple

from .facts import Facts
from .sizes import sequence_length

# Python, PyTorch, Transformers and the web server: 0.4 GiB with a tiny model on a CPU, measured in
# November 2026, and as much again for requests in hand. CUDA's libraries and context: assumed.
PROCESS_GIB, CUDA_PROCESS_GIB = 1.0, 3.0
BATCH = {"llm": 8, "multimodal": 8}  # rows computed together
USUAL_BATCH = 32
GENERATED = ("llm", "multimodal")  # tasks whose models compute in bf16 where a GPU has it


class Memory(NamedTuple):
    """GiB of main memory for one replica."""

    request: int
    """Serving one model."""
    limit: int
    """While a new version is loaded beside the old one, which is kept to go back to."""


def memory_gib(facts: Facts) -> Memory | None:
    """The weights and one batch of the answered model; None where its size is not known."""
    shape = facts.shape
    if shape is None:
        return None
    if facts.gpu is None:
        batch, tokens = BATCH.get(facts.task, USUAL_BATCH), sequence_length(facts, shape)
        model = facts.estimate.inference_memory(shape, "fp32", batch, tokens)
        process = PROCESS_GIB
    else:  # the weights pass through main memory; what is computed stays on the GPU
        half = facts.task in GENERATED and facts.gpu.bf16_tflops
        model = shape.params * (2 if half else 4) / 2**30
        process = CUDA_PROCESS_GIB
    return Memory(math.ceil(process + model), math.ceil(process + 2 * model))
