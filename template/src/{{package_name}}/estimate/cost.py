"""Time and cost of training."""

from .shapes import ModelShape
from .tables import EstimateError, Gpu, Range, find_gpu, prices

# Share of the dense 16-bit peak that eager models reach: on short ragged batches (L40S, 12 %
# full, 25 % LoRA), and on long sequences of large models (H100, 33 to 43 %).
_UTILISATION = {"full": (0.12, 0.40), "lora": (0.22, 0.43)}


def flops_per_token(
    shape: ModelShape,
    *,
    strategy: str = "full",
    activation_checkpointing: bool = False,
    max_seq_len: int = 1024,
) -> float:
    """Floating-point operations to train on one token.

    6 N (Kaplan et al. 2020), or 4 N where weights are frozen, plus 12*L*hq*s for attention,
    half of it when causal (PaLM, appendix B); checkpointing adds a forward pass. N leaves out
    what is only looked up: input embeddings that are not also the output head.
    """
    looked_up = 0 if shape.tied else (shape.vocab + shape.positions) * shape.hidden
    n = shape.params - looked_up
    per_layer = (6 if shape.kind == "decoder" else 12) * shape.heads * shape.head_dim
    attention = per_layer * shape.layers * max_seq_len
    flops = (6 if strategy == "full" else 4) * n + attention
    return flops + (2 * n + attention / 3 if activation_checkpointing else 0)


def training_hours(
    shape: ModelShape,
    gpu: Gpu,
    tokens: float,
    *,
    strategy: str = "full",
    activation_checkpointing: bool = False,
    max_seq_len: int = 1024,
) -> Range:
    """Hours for `tokens` (all epochs) on one GPU in 16 bit. Raises EstimateError."""
    if strategy not in _UTILISATION:
        raise EstimateError(f"strategy {strategy!r} has no formula; choose full or lora")
    if tokens <= 0:
        raise EstimateError(f"the number of tokens is {tokens:g}; give a positive number")
    per_token = flops_per_token(
        shape,
        strategy=strategy,
        activation_checkpointing=activation_checkpointing,
        max_seq_len=max_seq_len,
    )
    hours_at_peak = tokens * per_token / ((gpu.bf16_tflops or gpu.fp16_tflops) * 1e12) / 3600
    low, high = _UTILISATION[strategy]
    return Range(hours_at_peak / high, hours_at_peak / low)


def cost_usd(hours: Range, gpu_name: str, count: int = 1) -> Range | None:
    """Dollars on demand, from the cheapest provider to the dearest; None: no price is known.

    From each provider the cheapest machines that make up `count` GPUs with none left over.
    """
    cheapest: dict[str, float] = {}
    for price in prices(find_gpu(gpu_name).name):
        if count % price.gpu_count == 0:
            usd = price.usd_per_hour * count / price.gpu_count
            cheapest[price.provider] = min(usd, cheapest.get(price.provider, usd))
    if not cheapest:
        return None
    return Range(hours.low * min(cheapest.values()), hours.high * max(cheapest.values()))
