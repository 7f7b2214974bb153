"""Memory and speed of inference, by roofline."""

from __future__ import annotations

from .cost import matmul_share, peak_flops
from .shapes import ModelShape, linear_maps
from .tables import EstimateError, Gpu, Range

GIB = 2**30

# Bytes a weight of a linear map in each precision: nf4 is a 4-bit code and a scale of 32 bits for
# 64 weights, with double quantisation (nf4_dq) a scale of 8 bits (Dettmers et al. 2023); int8
# rows have one scale each. Embeddings and the output head stay 16 bit where maps are quantised.
_LINEAR_BYTES = {
    "fp32": 4.0,
    "bf16": 2.0,
    "fp16": 2.0,
    "fp8": 1.0,
    "int8": 1.0,
    "nf4": 0.5625,
    "nf4_dq": 0.516,
}
# Share of the bandwidth that reading the weights reaches: (eager, tuned). gpt-fast, compiled, on an
# A100: 69 % bf16, 51 % int8, 42 % int4; NIM with fp8 on H100s about 50 %.
_BANDWIDTH_SHARE = {
    "fp32": (0.50, 0.75),
    "bf16": (0.50, 0.75),
    "fp16": (0.50, 0.75),
    "fp8": (0.35, 0.65),
    "int8": (0.25, 0.55),
    "nf4": (0.20, 0.45),
    "nf4_dq": (0.20, 0.45),
}
# Milliseconds a layer that an eager loop needs to ask for one step: litgpt on an A100 took 1.0 to
# 1.3 in bf16 and 1.3 to 2.2 with bitsandbytes, transformers' generate is no faster.
_HOST_MS_PER_LAYER, _HOST_MS_PER_QUANTISED_LAYER = 1.4, 2.3
_CUBLAS_GIB = 0.03  # workspace of the matrix library


def weights_gib(shape: ModelShape, precision: str = "bf16") -> float:
    """GiB of the weights. Raises EstimateError for an unknown precision."""
    per_weight = _linear_bytes(precision)
    if per_weight >= 2:
        return shape.params * per_weight / GIB
    linear = _linear_parameters(shape)
    return (linear * per_weight + (shape.params - linear) * 2) / GIB


def kv_cache_gib(shape: ModelShape, batch: int = 1, tokens: int = 1024) -> float:
    """GiB of keys and values, 16 bit, of all layers: 2 * L * hk * b * s * 2 bytes."""
    _check_sizes(batch, tokens)
    if shape.kind not in ("decoder", "vision_language"):
        return 0.0
    width = shape.kv_heads * shape.head_dim
    return 2 * shape.layers * width * batch * tokens * 2 / GIB


def inference_memory(
    shape: ModelShape, precision: str = "bf16", batch: int = 1, tokens: int = 1024
) -> float:
    """Peak GiB of one process: weights, keys and values, and the workspace of one layer.

    `tokens` is prompt and answer together. The workspace is one layer's activations of a prompt
    of that length, or the largest matrix in 16 bit where weights are kept in fewer. Raises
    EstimateError. Against litgpt on an A100 (10 rows, 1.3 to 70 B, bf16 and nf4): within 3 %.
    """
    _check_sizes(batch, tokens)
    per_weight = _linear_bytes(precision)
    size = 4 if precision == "fp32" else 2
    hq = shape.heads * shape.head_dim
    length = shape.tokens if shape.kind in ("vision", "audio") and shape.tokens else tokens
    layer = batch * length * (4 * shape.hidden + 2 * hq + 3 * shape.intermediate) * size
    head = batch * shape.vocab * (size + 4) if shape.kind in ("decoder", "vision_language") else 0
    workspace = max(layer, head)
    if per_weight < 2:  # matrices pass through in 16 bit, when loaded and when multiplied
        widest = max(shape.vocab * shape.hidden, *(i * o for i, o in linear_maps(shape)))
        workspace = max(2 * widest, workspace)
    cache = kv_cache_gib(shape, batch, tokens)
    return weights_gib(shape, precision) + cache + workspace / GIB + _CUBLAS_GIB


def decode_tokens_per_s(
    shape: ModelShape,
    gpu: Gpu,
    precision: str = "bf16",
    batch: int = 1,
    tokens: int = 1024,
    gpu_count: int = 1,
) -> Range:
    """New tokens a second, of all `batch` sequences together, after `tokens` each.

    A step reads every weight and the cache once. Low: an eager loop; high: a compiled or
    dedicated server. `gpu_count`: a server that splits each layer over that many. Raises
    EstimateError.
    """
    if shape.kind not in ("decoder", "vision_language"):
        raise EstimateError(f"a model of kind {shape.kind} writes no text, so it has no decoding")
    if gpu_count < 1:
        raise EstimateError(f"the number of GPUs is {gpu_count}; give 1 or more")
    looked_up = 0 if shape.tied else 2 * shape.vocab * shape.hidden / GIB
    weights = (weights_gib(shape, precision) - looked_up) * GIB
    cache = kv_cache_gib(shape, batch, tokens) * GIB
    flops = batch * _forward_flops(shape, tokens)
    speeds = []
    for tuned in (False, True):
        share = _BANDWIDTH_SHARE[precision][tuned]
        read = (weights / share + cache / (0.75 if tuned else 0.5)) / (gpu.bandwidth_gbps * 1e9)
        compute = flops / (peak_flops(gpu, _computed_in(precision, gpu)) * matmul_share(gpu)[tuned])
        if tuned:
            seconds = max(read, compute) / gpu_count
        else:
            seconds = max((read + compute) / gpu_count, _host_seconds(shape, precision))
        speeds.append(batch / seconds)
    return Range(speeds[0], speeds[1])


def prefill_tokens_per_s(
    shape: ModelShape,
    gpu: Gpu,
    precision: str = "bf16",
    batch: int = 1,
    tokens: int = 1024,
    gpu_count: int = 1,
) -> Range:
    """Tokens of prompts (or of images, sounds, texts to classify) read a second.

    Bound by matrix products: 2 N and attention for each. Raises EstimateError.
    """
    _check_sizes(batch, tokens)
    if gpu_count < 1:
        raise EstimateError(f"the number of GPUs is {gpu_count}; give 1 or more")
    length = shape.tokens if shape.kind in ("vision", "audio") and shape.tokens else tokens
    total = batch * length
    flops = total * _forward_flops(shape, length / 2)
    read = weights_gib(shape, precision) * GIB / (gpu.bandwidth_gbps * 1e9)
    speeds = []
    for tuned in (False, True):
        share = _BANDWIDTH_SHARE[precision][tuned]
        compute = flops / (peak_flops(gpu, _computed_in(precision, gpu)) * matmul_share(gpu)[tuned])
        if tuned:
            seconds = max(compute, read / share) / gpu_count
        else:  # what lies between the products takes about half as long again
            seconds = (1.5 * compute + read / share) / gpu_count
            seconds = max(seconds, _host_seconds(shape, precision))
        speeds.append(total / seconds)
    return Range(speeds[0], speeds[1])


def _linear_bytes(precision: str) -> float:
    if precision not in _LINEAR_BYTES:
        known = ", ".join(_LINEAR_BYTES)
        raise EstimateError(f"precision {precision!r} is unknown; choose one of {known}")
    return _LINEAR_BYTES[precision]


def _check_sizes(batch: int, tokens: int) -> None:
    if not (1 <= batch < 1e9 and 1 <= tokens < 1e12):
        raise EstimateError(f"batch is {batch:g}, tokens {tokens:g}; both start at 1")


def _linear_parameters(shape: ModelShape) -> int:
    return shape.layers * sum(i * o for i, o in linear_maps(shape))


def _forward_flops(shape: ModelShape, attended: float) -> float:
    """Of one token that attends to `attended` others; what is looked up is left out."""
    embeddings = shape.vocab * shape.hidden
    if shape.kind in ("decoder", "vision_language"):
        n = shape.params - (0 if shape.tied else embeddings)
    else:
        looked_up = embeddings if shape.kind == "encoder" else 0
        n = shape.params - looked_up - shape.positions * shape.hidden
    if shape.vision:
        n -= shape.vision.params
    return 2.0 * n + 4.0 * shape.layers * shape.heads * shape.head_dim * attended


def _computed_in(precision: str, gpu: Gpu) -> str:
    """Quantised weights are computed with in 16 bit."""
    if precision == "fp32":
        return "fp32"
    return "bf16" if gpu.bf16_tflops and precision != "fp16" else "fp16"


def _host_seconds(shape: ModelShape, precision: str) -> float:
    quantised = _linear_bytes(precision) < 2
    ms = _HOST_MS_PER_QUANTISED_LAYER if quantised else _HOST_MS_PER_LAYER
    return shape.layers * ms / 1000
