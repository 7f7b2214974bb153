"""Peak memory of a training step of the real modules, on tensors without data; write a CSV.

uv run --with torch --with transformers --with peft benchmarks/simulate.py [--only PATTERN]

Builds each model of `CASES` with transformers (and PEFT's adapters) on fake CUDA tensors, runs
forward and backward pass, and adds up the storages that are alive: what PyTorch's allocator
would give out, but for the workspace of cuBLAS. Takes no GPU, but a CPU build of torch and g++
for fake_cuda.cpp. memory.py sets the estimate beside data/held_out.csv.
"""

# mypy: disable-error-code="import-not-found, misc"
# (torch, transformers and peft are no part of the environment that checks this repository)

from __future__ import annotations

import argparse
import contextlib
import csv
import gc
import importlib.util
import re
import subprocess
import sysconfig
import tempfile
import warnings
import weakref
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from configs import GIVEN, as_config
from memory import DATA, HERE, shape_of

Values = dict[str, Any]
FIELDS = (
    "model", "strategy", "precision", "micro_batch_size", "max_seq_len", "accumulation",
    "activation_checkpointing", "lora_rank", "lora_targets",
)  # fmt: skip


@dataclass(frozen=True)
class Case:
    """A model and settings; `lora_targets`: names with spaces between, none is all-linear."""

    model: str
    strategy: str
    precision: str
    micro_batch_size: int
    max_seq_len: int = 1024  # of texts
    accumulation: int = 1
    activation_checkpointing: bool = False
    lora_rank: int = 16
    lora_targets: str = ""


CASES = [
    Case("Qwen/Qwen3-1.7B", "full", "bf16", 3, 1536),
    Case("HuggingFaceTB/SmolLM2-360M", "full", "bf16", 5, 768, 4),
    Case("HuggingFaceTB/SmolLM2-1.7B", "full", "fp32", 1, 640),
    Case("Qwen/Qwen2.5-1.5B", "full", "bf16", 1, 6144, 1, True),
    Case("Qwen/Qwen2.5-1.5B", "lora", "bf16", 3, 900, 1, False, 64),
    Case("Qwen/Qwen2.5-1.5B", "lora", "bf16", 3, 900, 1, False, 8, "q_proj v_proj"),
    Case("mistralai/Mistral-7B-v0.3", "lora", "bf16", 1, 3000, 4, True, 32),
    Case("mistralai/Mistral-7B-v0.3", "lora", "pure_bf16", 2, 700, 1, False, 16, "q_proj v_proj"),
    Case("meta-llama/Llama-3.1-8B", "qlora", "bf16", 2, 1500),
    Case("meta-llama/Llama-3.1-8B", "qlora", "bf16", 6, 2048, 8, True, 64),
    Case("Qwen/Qwen2.5-14B", "qlora", "bf16", 1, 4096, 4, True, 32),
    Case("Qwen/Qwen2.5-14B", "qlora", "bf16", 1, 1000, 1, False, 16, "q_proj v_proj"),
    Case("google-bert/bert-large-uncased", "full", "bf16", 24, 320, 1, True),
    Case("google-bert/bert-large-uncased", "lora", "bf16", 24, 320),
    Case("answerdotai/ModernBERT-large", "full", "bf16", 12, 700),
    Case("answerdotai/ModernBERT-large", "full", "bf16", 24, 700, 1, True),
    Case("answerdotai/ModernBERT-base", "lora", "bf16", 16, 900),
    Case("google/vit-large-patch16-224", "full", "bf16", 80, accumulation=2),
    Case("google/vit-large-patch16-224", "lora", "bf16", 80),
    Case("google/vit-large-patch16-224", "lora", "bf16", 80, 1, 1, True),
    Case("google/vit-huge-patch14-224-in21k", "lora", "bf16", 24, 1, 2, True, 32),
    Case("facebook/dinov2-giant", "full", "bf16", 24),
    Case("facebook/dinov2-giant", "lora", "bf16", 24, 1, 1, True),
    Case("facebook/dinov2-small", "lora", "bf16", 256),
    Case("openai/whisper-medium", "full", "bf16", 6, 1, 1, True),
    Case("openai/whisper-medium", "lora", "bf16", 6),
    Case("openai/whisper-large-v3-turbo", "lora", "bf16", 12, 1, 2, True, 32),
    Case("facebook/wav2vec2-xls-r-300m", "full", "bf16", 12),
    Case("facebook/wav2vec2-xls-r-300m", "lora", "bf16", 12),
    Case("facebook/hubert-base-ls960", "lora", "bf16", 20, 1, 1, True),
    Case("facebook/hubert-base-ls960", "full", "pure_bf16", 20),
    Case("llava-hf/llava-1.5-7b-hf", "lora", "bf16", 2, 1024, 1, False),
    Case("llava-hf/llava-1.5-7b-hf", "lora", "bf16", 4, 1500, 1, True, 32, "q_proj v_proj"),
    Case("Qwen/Qwen2.5-VL-7B-Instruct", "lora", "bf16", 1, 2048, 1, True, 16, "q_proj v_proj"),
]  # fmt: skip


def main() -> None:
    """Simulate the cases, one line each, and write them."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", default="", help="cases that match this pattern")
    parser.add_argument("--out", type=Path, default=DATA / "held_out.csv")
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    _pretend_a_gpu()
    with options.out.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*FIELDS, "simulated_gib"])
        for case in CASES:
            if not re.search(options.only, str(case)):
                continue
            row = [*asdict(case).values(), f"{peak_gib(case):.3f}"]
            writer.writerow(row)
            file.flush()
            print(*row, flush=True)


def peak_gib(case: Case) -> float:
    """Largest sum of live storages in a training step after the first, in GiB."""
    import torch
    from torch._subclasses.fake_tensor import FakeTensorMode

    shape = shape_of(case.model)
    model = build(case, shape)
    computed = torch.bfloat16 if case.precision == "pure_bf16" else torch.float32
    with FakeTensorMode(allow_non_fake_inputs=True), live_storages() as live:
        move(model)
        batch = inputs(case, shape, computed)
        trained = [p for p in model.parameters() if p.requires_grad]
        states = [(torch.zeros_like(p), torch.zeros_like(p)) for p in trained]  # of AdamW
        gc.collect()
        live.peak = live.now
        for _ in range(min(case.accumulation, 2)):  # the others are like the second
            autocast: Any = contextlib.nullcontext()
            if case.precision == "bf16":
                autocast = torch.autocast("cuda", dtype=torch.bfloat16)
            with autocast:
                loss = model(**batch).loss
            loss.backward()
            del loss
        del states
        return float(live.peak) / 2**30


def live_storages() -> Any:
    """A mode that counts the storages of all tensors that operations make, in 512-byte blocks."""
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_leaves

    class Live(TorchDispatchMode):
        def __init__(self) -> None:
            super().__init__()
            self.seen: Any = weakref.WeakKeyDictionary()
            self.now = self.peak = 0

        def __torch_dispatch__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            result = func(*args, **(kwargs or {}))
            for tensor in tree_leaves(result):
                if isinstance(tensor, torch.Tensor):
                    self.add(tensor.untyped_storage())
            return result

        def add(self, storage: Any) -> None:
            if storage in self.seen:
                return
            size = -(-storage.nbytes() // 512) * 512
            self.seen[storage] = size
            self.now += size
            self.peak = max(self.peak, self.now)
            weakref.finalize(storage, self.free, size)

        def free(self, size: int) -> None:
            self.now -= size

    return Live()


def build(case: Case, shape: Any) -> Any:
    """The model on the meta device with frozen, quantised and adapter weights as in training."""
    import torch
    import transformers

    config = transformers.AutoConfig.for_model(
        **(GIVEN.get(case.model) or as_config(shape)), **EXTRA.get(shape.family.split("_")[0], {})
    )
    auto = {
        "decoder": transformers.AutoModelForCausalLM,
        "encoder": transformers.AutoModelForSequenceClassification,
        "vision": transformers.AutoModelForImageClassification,
        "audio": transformers.AutoModelForAudioClassification,
        "vision_language": transformers.AutoModelForImageTextToText,
    }[shape.kind]
    base = torch.float32
    if case.precision == "pure_bf16" or (case.strategy != "full" and case.precision != "fp32"):
        base = torch.bfloat16
    with torch.device("meta"):
        model = auto.from_config(config, attn_implementation="sdpa").to(base)
    model.train()
    if hasattr(model, "freeze_feature_encoder"):
        model.freeze_feature_encoder()
    if case.strategy == "qlora":
        quantise(model)
    if case.activation_checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    if case.strategy == "full":
        return model
    from peft import LoraConfig, get_peft_model

    heads = [name for name in ("classifier", "projector", "score") if hasattr(model, name)]
    adapted = LoraConfig(
        r=case.lora_rank,
        target_modules=case.lora_targets.split() or "all-linear",
        modules_to_save=heads if shape.kind not in ("decoder", "vision_language") else None,
    )
    model = get_peft_model(model, adapted)
    for parameter in model.parameters():
        if parameter.requires_grad:  # PEFT keeps them in fp32
            parameter.data = parameter.data.float()
    if case.activation_checkpointing:
        model.enable_input_require_grads()
    return model


# Dropout of whole layers and masks of spectrograms draw numbers on the CPU; without them a step
# is that of a batch from which nothing was dropped.
EXTRA: dict[str, Values] = {
    family: {"apply_spec_augment": False, "layerdrop": 0.0} for family in ("wav2vec2", "hubert")
}


def quantise(model: Any) -> None:
    """Put half a byte a weight and its scales in place of the linear maps of the layers."""
    import torch
    from peft.tuners.lora import bnb
    from torch import nn

    class Multiply(torch.autograd.Function):  # bitsandbytes' MatMul4Bit keeps no input
        @staticmethod
        def forward(ctx: Any, x: Any, bias: Any, make: Any) -> Any:
            ctx.make = make
            return nn.functional.linear(x, make(), bias)

        @staticmethod
        def backward(ctx: Any, *gradients: Any) -> Any:
            return gradients[0] @ ctx.make().to(gradients[0].dtype), None, None

    class Linear4bit(nn.Linear):
        def forward(self, x: Any) -> Any:
            x = x.to(torch.bfloat16)
            with torch.autocast("cuda", enabled=False):
                return Multiply.apply(x, self.bias, self.dequantised)

        def dequantised(self) -> Any:
            size = (self.out_features, self.in_features)
            return torch.empty(size, dtype=torch.bfloat16, device="cuda")

    def adapter(target: Any, adapter_name: str, config: Any, **kwargs: Any) -> Any:
        return bnb.Linear4bit(target, adapter_name, config=config, **kwargs)

    for parent in list(model.modules()):
        for name, linear in list(parent.named_children()):
            if type(linear) is nn.Linear and name != "lm_head":
                count = linear.weight.numel()
                linear.__class__ = Linear4bit
                packed = torch.empty((count // 2, 1), dtype=torch.uint8, device="meta")
                linear.weight = nn.Parameter(packed, requires_grad=False)
                scales = count // 64 + 4 * (count // 64 // 256)
                linear.register_buffer("scales", packed.new_empty(scales))
    import peft.tuners.lora.model as lora_model

    usual = lora_model.dispatch_default

    def dispatch(target: Any, adapter_name: str, config: Any, **kwargs: Any) -> Any:
        if type(target).__name__ == "Linear4bit":
            return adapter(target, adapter_name, config, **kwargs)
        return usual(target, adapter_name, config, **kwargs)

    lora_model.dispatch_default = dispatch


def move(model: Any) -> None:
    """Fake CUDA tensors in place of the model's meta tensors; tied ones stay tied."""
    import torch

    moved: dict[int, Any] = {}
    for module in model.modules():
        for name, p in list(module._parameters.items()):
            if p is None:
                continue
            if id(p) not in moved:
                data = torch.empty(p.shape, dtype=p.dtype, device="cuda:0")
                moved[id(p)] = (p, torch.nn.Parameter(data, requires_grad=p.requires_grad))
            module._parameters[name] = moved[id(p)][1]
        for name, b in list(module._buffers.items()):
            if b is not None:
                module._buffers[name] = torch.empty(b.shape, dtype=b.dtype, device="cuda:0")


def inputs(case: Case, shape: Any, dtype: Any) -> Values:
    """A batch of the model, one image a row for one that reads images and text."""
    import torch

    rows, length = case.micro_batch_size, case.max_seq_len

    def numbers(*sizes: int) -> Any:
        return torch.empty((rows, *sizes), dtype=dtype, device="cuda:0")

    def whole(*sizes: int) -> Any:
        return torch.zeros((rows, *sizes), dtype=torch.long, device="cuda:0")

    if shape.kind == "vision":
        return {"pixel_values": numbers(3, 224, 224), "labels": whole()}
    if shape.family == "whisper":
        return {"input_features": numbers(shape.vocab, 3000), "labels": whole()}
    if shape.kind == "audio":
        sound = (1024, 128) if shape.family.startswith("audio") else (160000,)
        return {"input_values": numbers(*sound), "labels": whole()}
    batch = {"input_ids": whole(length), "labels": whole(length), "use_cache": False}
    if shape.kind == "encoder":
        return {"input_ids": batch["input_ids"], "labels": whole()}
    if shape.family == "qwen2" and shape.vision:  # the tower is frozen and out of the picture
        batch["position_ids"] = torch.zeros((3, rows, length), dtype=torch.long, device="cuda:0")
    elif shape.vision:
        batch["pixel_values"] = numbers(3, 336, 336)
    return batch


def _pretend_a_gpu() -> None:
    _load_hooks()  # before torch, which asks for them once
    import peft  # noqa: F401 - before it could find a GPU
    import torch
    import transformers

    torch.cuda.is_available = lambda: True
    torch.cuda.is_bf16_supported = lambda *_, **__: True
    torch.cuda.amp.common.amp_definitely_not_available = lambda: False
    torch.nn.functional.scaled_dot_product_attention = attention
    transformers.PreTrainedModel.init_weights = lambda model: model.tie_weights()
    transformers.logging.set_verbosity_error()
    # questions that tensors without data cannot answer: are texts packed, which tokens are images
    import transformers.masking_utils as masks
    import transformers.models.llava.modeling_llava as llava

    masks.find_packed_sequence_indices = lambda _: None
    llava.LlavaModel.get_placeholder_mask = lambda _, input_ids, inputs_embeds, **__: (
        (input_ids == 0).unsqueeze(-1).expand_as(inputs_embeds)
    )


def _load_hooks() -> None:
    found = importlib.util.find_spec("torch")
    if found is None or found.origin is None:
        raise SystemExit("torch is not installed")
    torch = Path(found.origin).parent
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "fake_cuda.so"
        headers = [torch / "include", sysconfig.get_paths()["include"]]
        libraries = ["-ltorch_cpu", "-lc10", f"-L{torch / 'lib'}", f"-Wl,-rpath,{torch / 'lib'}"]
        command = ["g++", "-O0", "-shared", "-fPIC", "-std=c++20", str(HERE / "fake_cuda.cpp")]
        command += [f"-I{path}" for path in headers]
        subprocess.run([*command, *libraries, "-o", str(target)], check=True)
        spec = importlib.util.spec_from_file_location("fake_cuda", target)
        if spec is None:
            raise SystemExit(f"{target} is no extension module")
        importlib.util.module_from_spec(spec)


def attention(
    q: Any, k: Any, v: Any, attn_mask: Any = None, dropout_p: float = 0.0,
    is_causal: bool = False, scale: Any = None, enable_gqa: bool = False,
) -> Any:  # fmt: skip
    """The kernel that a GPU takes: flash in 16 bit without a mask, else memory-efficient."""
    import torch

    if torch.is_autocast_enabled("cuda"):
        q, k, v = (t.to(torch.bfloat16) if t.dtype == torch.float32 else t for t in (q, k, v))
    if attn_mask is None and q.dtype != torch.float32:
        short = -q.shape[-1] % 8
        size = q.shape[-1]
        if short:
            q, k, v = (torch.nn.functional.pad(t, (0, short)) for t in (q, k, v))
        flash: Callable[..., Any] = torch.ops.aten._scaled_dot_product_flash_attention
        return flash(q, k, v, dropout_p, is_causal, False, scale=scale)[0][..., :size]
    if k.shape[1] != q.shape[1]:
        k, v = (t.repeat_interleave(q.shape[1] // k.shape[1], 1) for t in (k, v))
    if attn_mask is not None:
        if attn_mask.dtype == torch.bool:
            numbers = torch.zeros_like(attn_mask, dtype=q.dtype)
            attn_mask = numbers.masked_fill_(~attn_mask, float("-inf"))
        attn_mask = attn_mask.to(q.dtype)
        width = attn_mask.shape[-1]
        if -width % 16:
            attn_mask = torch.nn.functional.pad(attn_mask, (0, -width % 16))[..., :width]
        attn_mask = attn_mask.expand(q.shape[0], q.shape[1], q.shape[2], k.shape[2])
    efficient: Callable[..., Any] = torch.ops.aten._scaled_dot_product_efficient_attention
    return efficient(q, k, v, attn_mask, True, dropout_p, is_causal, scale=scale)[0]


if __name__ == "__main__":
    main()
