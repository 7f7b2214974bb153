"""Time, money and energy of training.

A step is paid for in matrix products (FLOPs at a share of the GPU's peak), in reading and writing
what lies between them (bytes at a share of its bandwidth), and in the time Python needs to ask
for them. The low end of a range is what tuned loops reach, the high end an eager one on a busy
machine. That packed documents do not see each other is not taken off.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .memory import Training
from .shapes import ModelShape, linear_maps
from .tables import EstimateError, Gpu, Quote, Range, quotes

if TYPE_CHECKING:
    from pathlib import Path

# Share of the dense peak that matrix products reach, (eager, tuned), by compute capability.
# 8.0 and 9.0: 209 rows of llm-foundry's table and some of torchtune's and NeMo's; 7.0 and 8.9:
# transformers and PEFT on a V100 and an L40S (tests/unit/test_cost.py holds a choice of all). The
# others have no public row and are set beside their neighbours.
_MATMUL_SHARE = {
    (7, 0): (0.32, 0.80),
    (7, 5): (0.35, 0.65),
    (8, 0): (0.55, 0.87),
    (8, 6): (0.50, 0.85),
    (8, 9): (0.45, 0.85),
    (9, 0): (0.35, 0.66),
    (10, 0): (0.30, 0.65),
    (12, 0): (0.45, 0.85),
}
_BANDWIDTH_SHARE = (0.70, 0.90)
# Milliseconds a layer that Python and the driver need for forward and backward of one
# micro-batch: (eager, tuned). Adapters add as many small operations again.
_HOST_MS_PER_LAYER = {"full": (3.6, 0.5), "lora": (4.5, 0.8), "qlora": (6.0, 1.0)}
_FUSED = 0.3  # share of the traffic between matrix products that is left when they are fused
_ATTENTION = 1.0  # added to the time of attention where it is not tuned
_PADDING = 1.4  # slots of a padded batch over its tokens, rows of unlike length
_NVLINK_GBPS, _PCIE_GBPS = 150.0, 8.0  # that collectives reach at least, per GPU
# A frozen wav2vec2 front-end: seven convolutions of 512 channels, forward, per frame of 20 ms.
_FRONT_END_FLOPS = {"wav2vec2": 97.5e6, "hubert": 97.5e6}


def flops_per_token(shape: ModelShape, training: Training) -> float:
    """Floating-point operations that training executes for one token. Raises EstimateError.

    6 N (Kaplan et al. 2020), or 4 N where weights are frozen (their own gradient is not
    computed), plus attention: 12 * L * hq * s, half of it when causal (PaLM, appendix B).
    Checkpointing repeats the forward pass. N leaves out what is only looked up: embeddings that
    are no output head. A vision-language model's tower is spread over the tokens of a sequence.
    """
    if training.strategy not in _HOST_MS_PER_LAYER:
        known = ", ".join(_HOST_MS_PER_LAYER)
        raise EstimateError(f"strategy {training.strategy!r} has no formula; choose {known}")
    again = 1 if training.activation_checkpointing else 0
    passes = (3 if training.strategy == "full" else 2) + again
    length = sequence_length(shape, training)
    tower = shape.vision
    n = shape.params - (tower.params if tower else 0)
    if shape.kind in ("decoder", "vision_language"):
        head = not training.classifier
        embeddings = 1 if shape.tied else 2
        n -= shape.vocab * shape.hidden * (embeddings - head)
    else:  # the vocabulary of a model that sees or hears is a matrix it multiplies with
        looked_up = shape.vocab if shape.kind == "encoder" else 0
        n -= (looked_up + shape.positions) * shape.hidden
    attention_flops = _attention_flops(shape, length)
    flops = passes * 2.0 * max(n, 0) + (3 + again) * attention_flops
    if tower:
        image = (2.0 * tower.params + 4 * tower.layers * tower.hidden * tower.tokens) * tower.tokens
        flops += (passes if training.strategy == "full" else 1) * image / length
    return flops + _FRONT_END_FLOPS.get(shape.family.removesuffix("_norm"), 0.0)


def _attention_flops(shape: ModelShape, length: int) -> float:
    """Of the forward pass, for one token among `length`; windows of local attention count."""
    causal = shape.kind in ("decoder", "vision_language")
    local = shape.windowed_layers if shape.window else 0
    seen = local * min(length, shape.window) + (shape.layers - local) * length
    return (2.0 if causal else 4.0) * seen * shape.heads * shape.head_dim


def sequence_length(shape: ModelShape, training: Training) -> int:
    """Tokens of one sequence: the model's own where it fixes them. Raises EstimateError."""
    fixed = shape.tokens if shape.kind in ("vision", "audio") else 0
    length = fixed or training.max_seq_len
    if min(length, training.micro_batch_size, training.accumulation, training.gpu_count) < 1:
        raise EstimateError("batch size, sequence length, accumulation, GPUs must be at least 1")
    return length


def training_hours(shape: ModelShape, gpu: Gpu, tokens: float, training: Training) -> Range:
    """Hours of the training steps for `tokens`, those of all epochs and of all GPUs together.

    Without set-up, evaluation and checkpoints. Raises EstimateError.
    """
    if not 0 < tokens < 1e18:
        raise EstimateError(f"the number of tokens is {tokens:g}; give one between 1 and 1e18")
    per_gpu = tokens / max(training.gpu_count, 1) / 3600
    eager, tuned = (seconds_per_token(shape, gpu, training, tuned=t) for t in (False, True))
    return Range(tuned * per_gpu, eager * per_gpu)


def seconds_per_token(shape: ModelShape, gpu: Gpu, training: Training, *, tuned: bool) -> float:
    """Seconds that one GPU needs for a token: eager and without overlap, or tuned."""
    flops = flops_per_token(shape, training)
    tokens = training.micro_batch_size * sequence_length(shape, training)
    bandwidth = gpu.bandwidth_gbps * 1e9 * _BANDWIDTH_SHARE[tuned]
    if not tuned:  # attention kernels reach less of the peak than plain products
        passes = 4 if training.activation_checkpointing else 3
        flops += passes * _attention_flops(shape, sequence_length(shape, training)) * _ATTENTION
    matmul = tokens * flops / (peak_flops(gpu, training.precision) * matmul_share(gpu)[tuned])
    between = tokens * _bytes_between(shape, training) * (_FUSED if tuned else 1.0) / bandwidth
    weights = _weight_bytes(shape, training) / bandwidth
    device = matmul + between + weights
    again = 1.4 if training.activation_checkpointing else 1.0
    host_ms = _HOST_MS_PER_LAYER[training.strategy][tuned] * again * shape.layers
    exchange = 0.0 if tuned else _exchanged_bytes(shape, training) / (_link_gbps(gpu) * 1e9)
    seconds = max(device, host_ms / 1000) + exchange
    padding = _PADDING if training.padded and not tuned and not shape.tokens else 1.0
    return seconds * padding / tokens


def cost_usd(
    hours: Range,
    gpu_name: str,
    count: int = 1,
    spot: bool = False,
    prices_file: Path | None = None,
) -> Range | None:
    """Dollars from the cheapest provider to the dearest; None: no price is known.

    On demand, or `spot` where a provider has it. What does not count: prices known to be wrong,
    providers that only serve, and machines with idle GPUs while another provider has none.
    Raises EstimateError for an unknown GPU or a broken file.
    """
    offers = [quote for quote in quotes(gpu_name, count, prices_file) if not quote.stale]
    fewest = min((quote.idle_gpus for quote in offers), default=0)
    usd = [_price(quote, spot) for quote in offers if quote.idle_gpus == fewest]
    known = [price for price in usd if price is not None]
    return Range(hours.low * min(known), hours.high * max(known)) if known else None


def energy_kwh(hours: Range, gpu: Gpu, count: int = 1) -> Range:
    """Energy of the GPUs, from 60 % to all of their rated power; the machine's is not in it."""
    kilowatts = gpu.watts * count / 1000
    return Range(hours.low * 0.6 * kilowatts, hours.high * kilowatts)


def _price(quote: Quote, spot: bool) -> float | None:
    return quote.spot_usd_per_hour if spot else quote.usd_per_hour


def matmul_share(gpu: Gpu) -> tuple[float, float]:
    """(eager, tuned) share of the dense peak that matrix products reach."""
    eager, tuned = _MATMUL_SHARE.get(gpu.compute_capability, (0.35, 0.70))
    tflops = gpu.bf16_tflops or gpu.fp16_tflops
    if gpu.watts / tflops < 0.65 and gpu.compute_capability < (10, 0):
        return 0.6 * eager, 0.8 * tuned  # an L4 or an H100 PCIe: its power ends before its rate
    if gpu.watts / tflops > 2.0 and gpu.compute_capability >= (8, 6):
        return eager, 0.95  # a GeForce runs above the clock of its data sheet
    return eager, tuned


def peak_flops(gpu: Gpu, precision: str) -> float:
    """Dense peak in FLOP/s; without bf16 units PyTorch computes bf16 in fp32."""
    if precision in ("bf16", "pure_bf16"):
        rate = gpu.bf16_tflops or gpu.fp32_tflops
    elif precision == "fp16":
        rate = gpu.fp16_tflops
    elif precision == "fp32":
        rate = gpu.fp32_tflops
    else:
        raise EstimateError(f"precision {precision!r} is unknown; choose bf16, fp16 or fp32")
    return rate * 1e12


def _bytes_between(shape: ModelShape, training: Training) -> float:
    """Bytes a token moves between matrix products, eager: norms, rotations, activation, loss.

    Counted on the modules of transformers: a layer's forward pass reads and writes about
    80 h + 24 (hq + hk) + 10 f bytes, its backward pass twice that; scores of eager attention
    20 bytes each way. The loss moves 40 bytes a logit.
    """
    hq, hk = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    layer = 80.0 * shape.hidden + 24 * (hq + hk) + 10 * shape.intermediate
    if training.attention == "eager":
        layer += 20 * shape.heads * sequence_length(shape, training)
    if training.strategy != "full":
        layer += 8 * sum(i + o for i, o in linear_maps(shape))
    if training.precision == "fp32":
        layer = 1.5 * layer
    passes = 4 if training.activation_checkpointing else 3
    head = 0 if training.classifier or shape.kind in ("encoder", "vision", "audio") else 1
    return passes * shape.layers * layer + 40.0 * head * shape.vocab


def _weight_bytes(shape: ModelShape, training: Training) -> float:
    """Bytes of weights, gradients and optimizer state that a micro-batch moves on one GPU."""
    passes = 3 if training.activation_checkpointing else 2
    n = shape.params
    if training.strategy == "qlora":  # read 4 bits, write 16, read them, in each pass
        return 4.6 * passes * n
    if training.strategy == "lora":
        return 2.0 * passes * n
    step = 36.0 if training.precision != "pure_bf16" else 18.0  # AdamW, clipping, zeroing
    shards = training.gpu_count if training.parallelism == "fsdp" else 1
    cast = {"fp32": 4, "pure_bf16": 2}.get(training.precision, 8)
    return n * (cast * passes + 12.0 + step / training.accumulation / shards)


def _exchanged_bytes(shape: ModelShape, training: Training) -> float:
    """Bytes that one GPU sends for a micro-batch when nothing overlaps."""
    if training.gpu_count == 1 or training.parallelism == "single":
        return 0.0
    width = 4 if training.precision == "fp32" else 2
    trained = shape.params if training.strategy == "full" else _adapter_parameters(shape, training)
    if training.parallelism == "fsdp":  # gather twice, scatter the gradients of what is trained
        held = 0.55 if training.strategy == "qlora" else width
        return 2.0 * held * shape.params + 4.0 * trained
    return 8.0 * trained / training.accumulation  # all-reduce: twice the fp32 gradients


def _adapter_parameters(shape: ModelShape, training: Training) -> int:
    ends = sum(i + o for i, o in linear_maps(shape))
    return shape.layers * training.lora_rank * ends


def _link_gbps(gpu: Gpu) -> float:
    """Between GPUs of one machine: NVLink where the GPU has high-bandwidth memory."""
    hbm = gpu.bandwidth_gbps >= 1500 and gpu.compute_capability < (12, 0)
    return _NVLINK_GBPS if hbm or gpu.compute_capability == (7, 0) else _PCIE_GBPS
