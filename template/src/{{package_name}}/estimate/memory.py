"""Peak memory of training on one GPU."""

from dataclasses import dataclass

from .shapes import ModelShape, linear_maps
from .tables import EstimateError, Gpu

GIB = 2**30
CONTEXT_GIB = 0.7  # CUDA context and libraries; unconfirmed until measured
FRAGMENTATION = 1.10  # reserved over allocated memory


@dataclass(frozen=True)
class Memory:
    """Peak allocated memory, the moment it occurs, and what is alive then (adds up to it)."""

    peak_gib: float
    moment: str
    weights_gib: float
    gradients_gib: float
    optimizer_gib: float
    activations_gib: float
    logits_gib: float


# Bytes kept for the backward pass per token and layer, in multiples of (h, hq + hk, f).
# Under autocast ("mixed") norms see fp32 and matrix products 16 bit; frozen weights keep no
# input. Counted on the modules of transformers 5; 34 h = 18 h + 4 f of a 16-bit BERT is the
# constant of Korthikanti et al. 2022.
_SAVED = {
    ("llama", "full", "mixed"): (26, 4, 8),
    ("llama", "full", "fp32"): (24, 8, 16),
    ("llama", "lora", "mixed"): (8, 4, 6),
    ("llama", "lora", "fp32"): (16, 8, 16),
    ("gemma3", "full", "mixed"): (42, 4, 8),
    ("gemma3", "full", "fp32"): (40, 8, 16),
    ("gemma3", "lora", "mixed"): (16, 4, 6),
    ("gemma3", "lora", "fp32"): (24, 8, 16),
    ("bert", "full", "mixed"): (26, 0, 4),
    ("bert", "full", "fp32"): (34, 0, 8),
    ("bert", "lora", "mixed"): (18, 0, 2),
    ("bert", "lora", "fp32"): (34, 0, 8),
    ("modernbert", "full", "mixed"): (24, 0, 8),
    ("modernbert", "full", "fp32"): (40, 0, 16),
    ("modernbert", "lora", "mixed"): (20, 0, 6),
    ("modernbert", "lora", "fp32"): (40, 0, 16),
}


def _saved_per_token(shape: ModelShape, strategy: str, mode: str, mask: int) -> float:
    """Bytes that one layer keeps per token, with SDPA attention; `mask` is its length or 0.

    4 * heads + 8 are the log-sum-exp of attention and the norms' statistics. SDPA turns a
    boolean mask into numbers, and with a mask K and V are repeated for all heads.
    """
    hq, hk = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    size = 4 if mode == "fp32" else 2
    like = "bert" if shape.kind == "encoder" else "llama"
    architecture = shape.family if shape.family in ("gemma3", "modernbert") else like
    per_h, per_heads, per_f = _SAVED[architecture, strategy, mode]
    total = per_h * shape.hidden + per_f * shape.intermediate + 4 * shape.heads + 8 + size * mask
    total += per_heads * (hq + (hq if mask else hk))
    if shape.family in ("qwen3", "gemma3"):  # queries and keys have norms, computed in fp32
        wide = shape.family == "gemma3" or mode == "fp32"
        total += (4 if strategy == "lora" else 8 if wide else 6) * (hq + hk)
    if shape.family == "phi3":  # V is a view that keeps the fused q, k and v alive
        total += size * (hq + hk)
    return total


def _adapters_per_token(shape: ModelShape, mode: str, rank: int, dropout: float) -> float:
    """Bytes that one layer's LoRA adapters keep per token.

    Each keeps its rank-wide middle, under autocast its own 16-bit copy of the input, and with
    dropout a mask of one byte an input.
    """
    linears = linear_maps(shape)
    inputs = sum(i for i, _ in linears)
    size = 4 if mode == "fp32" else 2
    copies = inputs if mode == "mixed" or dropout else 0
    return size * (rank * len(linears) + copies) + (inputs if dropout else 0)


def training_memory(
    shape: ModelShape,
    *,
    strategy: str = "full",
    precision: str = "bf16",
    micro_batch_size: int = 1,
    max_seq_len: int = 1024,
    activation_checkpointing: bool = False,
    accumulation: int = 1,
    lora_rank: int = 16,
    lora_dropout: float = 0.0,
    padded: bool = False,
    classifier: bool = False,
) -> Memory:
    """Peak memory of a training step under autocast with fused AdamW. Raises EstimateError.

    The largest of the moments that compete, not a sum of terms that never coexist. A trained
    parameter is held in fp32: weight 4, gradient 4, AdamW 8 bytes; full fine-tuning in 16 bit
    adds autocast's copy of each linear map, LoRA a frozen base in 2 bytes (4 in fp32). The
    full-logits fp32 cross-entropy of a decoder peaks at 12*V*T bytes in its backward pass;
    `classifier`: a decoder with a classification head has none. `padded`: batches carry an
    attention mask, as padded and packed ones do. Formulas: Korthikanti et al. 2022 and our
    count of what the modules save; within 0.5 % of a simulation of the real modules.
    """
    if strategy not in ("full", "lora"):
        raise EstimateError(f"strategy {strategy!r} has no formula; choose full or lora")
    if precision not in ("bf16", "fp16", "fp32"):
        raise EstimateError(f"precision {precision!r} is unknown; choose bf16, fp16 or fp32")
    if min(micro_batch_size, max_seq_len, accumulation, lora_rank) < 1:
        raise EstimateError("batch size, sequence length, accumulation and rank must be at least 1")
    full, mixed, ckpt = strategy == "full", precision != "fp32", activation_checkpointing
    language_model = shape.kind == "decoder" and not classifier
    tokens, h, layers = micro_batch_size * max_seq_len, shape.hidden, shape.layers
    embedding = shape.vocab * h
    unused_head = embedding if classifier and shape.kind == "decoder" and not shape.tied else 0
    tied = shape.tied and language_model

    linears = linear_maps(shape)
    adapters = layers * lora_rank * sum(i + o for i, o in linears)
    base = shape.params - unused_head
    trained = base if full else adapters
    weights = 4 * trained + (0 if full else (2 if mixed else 4) * base)
    optimizer, gradients = 8 * trained, 4 * trained
    held = gradients if accumulation > 1 else 0  # from the micro-batches before
    embedding_gradient = 4 * embedding if full else 0
    head_gradient = embedding_gradient if language_model else 0

    casts = 0  # 16-bit copies of fp32 weights
    if mixed:
        casts = 2 * (layers * sum(i * o for i, o in linears) if full else adapters)
    mode = "mixed" if mixed else "fp32"
    per_token = _saved_per_token(shape, strategy, mode, max_seq_len if padded else 0)
    if not full:
        per_token += _adapters_per_token(shape, mode, lora_rank, lora_dropout)
    layer = per_token * tokens + casts / layers
    # A decoder with a 16-bit base passes 16 bit from layer to layer; all others pass fp32.
    passed = (2 if mixed and not full and shape.kind == "decoder" else 4) * h * tokens
    saved = layers * (passed if ckpt else layer)
    if not full and not ckpt and shape.kind == "decoder":
        saved -= 4 * h * tokens  # nothing before the first adapter needs a gradient
    outside = (8 if full else 4) * h * tokens  # last norm, or an encoder's embeddings
    if language_model and full and mixed:
        outside += 2 * embedding  # the head's copy
    logits = shape.vocab * tokens if language_model else 0
    again = layer if ckpt else 0  # one layer, computed again
    working = again + (2 if mixed else 4) * (h + 2 * shape.intermediate) * tokens
    end = gradients
    if tied:
        end += 2 * embedding_gradient  # from both of its uses, before they are added
    elif held:
        end += embedding_gradient

    # gradients, activations and logits beside weights and optimizer state
    moments: dict[str, tuple[float, float, float]] = {
        "loss": (held, saved + outside, 12 * logits),
        "backward pass of the last layer": (held + head_gradient, saved + working, 0),
        "backward pass of the first layer": (
            max(held, gradients - (0 if tied else embedding_gradient)),
            working if ckpt else layer,
            0,
        ),
        "end of the backward pass": (end, 0, 0),
        "optimizer step": (gradients, 0, 0),
    }
    if mixed and ckpt:  # autocast keeps its copies until the forward pass ends
        moments["forward pass"] = (held, saved + outside + casts, 10 * logits)
    moment = max(moments, key=lambda name: sum(moments[name]))
    grads, acts, logit = moments[moment]
    total = weights + optimizer + grads + acts + logit
    parts = (weights, grads, optimizer, acts, logit)
    return Memory(total / GIB, moment, *(part / GIB for part in parts))


def fits(memory: Memory, gpu: Gpu) -> bool:
    """Whether it fits, with 10 % for fragmentation and 0.7 GiB for the CUDA context."""
    return memory.peak_gib * FRAGMENTATION + CONTEXT_GIB <= gpu.memory_gib
