"""What the settings of a published measurement are in the terms of the estimate."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "template" / "src" / "{{package_name}}"))

estimate: Any = importlib.import_module("estimate")
Training: Any = estimate.Training
Program: Any = importlib.import_module("estimate.activations").Program

Row = Mapping[str, str]
Settings = tuple[Any, Any, Any]  # shape, Training, Program


# Bytes per token and layer, in multiples of (h, hq + hk, f).
Saved = tuple[float, float, float]


class SkippedError(Exception):
    """A row that cannot be compared; its text says why."""


def llama(hidden: int, intermediate: int, layers: int, heads: int, **more: Any) -> dict[str, Any]:
    """The config.json of a decoder like Llama 2."""
    values = {
        "model_type": "llama",
        "hidden_size": hidden,
        "intermediate_size": intermediate,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": heads,
        "vocab_size": 32000,
        "tie_word_embeddings": False,
    }
    return {**values, **more}


# Models of the rows that are no presets, by their sizes on the hub.
CONFIGS = {
    "llama-2-7b": llama(4096, 11008, 32, 32),
    "llama-2-13b": llama(5120, 13824, 40, 40),
    "llama-2-70b": llama(8192, 28672, 80, 64, num_key_value_heads=8),
    "codellama-34b": llama(8192, 22016, 48, 64, num_key_value_heads=8, vocab_size=32016),
    "phi-1.5": llama(2048, 8192, 24, 32, model_type="phi", vocab_size=51200),
    "phi-2": llama(2560, 10240, 32, 32, model_type="phi", vocab_size=51200),
    "stablelm-base-alpha-3b": llama(
        4096, 16384, 16, 32, model_type="gpt_neox", vocab_size=50688
    ),
    "stablelm-base-alpha-7b": llama(
        6144, 24576, 16, 48, model_type="gpt_neox", vocab_size=50432
    ),
    "falcon-7b": llama(
        4544, 18176, 32, 71, model_type="falcon", vocab_size=65024, tie_word_embeddings=True
    ),
    "gemma-2b": llama(
        2048, 16384, 18, 8, model_type="gemma", num_key_value_heads=1, head_dim=256,
        vocab_size=256000, tie_word_embeddings=True,
    ),
    "gemma-7b": llama(
        3072, 24576, 28, 16, model_type="gemma", head_dim=256, vocab_size=256000,
        tie_word_embeddings=True,
    ),
    "gemma-2-2b": llama(
        2304, 9216, 26, 8, model_type="gemma2", num_key_value_heads=4, head_dim=256,
        vocab_size=256000, tie_word_embeddings=True,
    ),
    "gemma-2-9b": llama(
        3584, 14336, 42, 16, model_type="gemma2", num_key_value_heads=8, head_dim=256,
        vocab_size=256000, tie_word_embeddings=True,
    ),
}  # fmt: skip
PRESETS = {
    "llama-3-8b": "meta-llama/Llama-3.1-8B",
    "llama-3.1-8b": "meta-llama/Llama-3.1-8B",
    "llama-3.1-70b": "meta-llama/Llama-3.1-70B",
    "llama-3.2-1b": "meta-llama/Llama-3.2-1B",
    "llama-3.2-3b": "meta-llama/Llama-3.2-3B",
    "mistral-7b": "mistralai/Mistral-7B-v0.3",
    "mistral-7b-v0.2": "mistralai/Mistral-7B-v0.3",
    "phi-3": "microsoft/Phi-3.5-mini-instruct",
    "tiny-llama": "TinyLlama/TinyLlama-1.1B-Chat-v1.0",
    "qwen2.5-0.5b": "Qwen/Qwen2.5-0.5B",
    "qwen2.5-1.5b": "Qwen/Qwen2.5-1.5B",
    "bert-large-uncased": "google-bert/bert-large-uncased",
}
ALIASES = {
    "phi-1.5-1.3-b": "phi-1.5",
    "stablelm-alpha-3-b": "stablelm-base-alpha-3b",
    "stablelm-alpha-7-b": "stablelm-base-alpha-7b",
    "llama-2-7-b": "llama-2-7b",
    "llama-2-13-b": "llama-2-13b",
    "llama-2-70-b": "llama-2-70b",
    "codellama-34-b": "codellama-34b",
    "gemma2-2b": "gemma-2-2b",
    "gemma2b": "gemma-2-2b",
    "gemma2-9b": "gemma-2-9b",
}


def model(row: Row) -> Any:
    """The shape of a row's model. Raises SkippedError."""
    name = row["model"].split(" (")[0].strip().lower().replace(" ", "-")
    name = ALIASES.get(name, name)
    if name in CONFIGS:
        return estimate.shape_from_config(CONFIGS[name])
    try:
        return estimate.find_model(PRESETS.get(name, row["model"]))
    except estimate.EstimateError:
        raise SkippedError("the estimate does not know this model") from None


# litgpt's config_hub/finetune at 2685705: what its LoRA rows adapt, with which rank and dropout.
ALL = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
LITGPT_ALL = {  # model: (rank of lora.yaml, of qlora.yaml)
    "gemma-2b": (8, 16),
    "gemma-7b": (16, 16),
    "gemma-2-2b": (8, 16),
    "gemma-2-9b": (16, 16),
    "phi-2": (8, 8),
    "phi-3": (8, 8),
    "tiny-llama": (32, 32),
}


def settings(row: Row) -> Settings:
    """The row's shape, settings, and what its modules save where they are not transformers'.

    Raises SkippedError for a row that says too little, or about something else.
    """
    if row["kind"] != "train":
        raise SkippedError(f"a row about {row['kind']}")
    if "impossible" in row["usable_for"]:
        raise SkippedError("less than the states of AdamW need; the row itself is in doubt")
    if row["peak_GiB"] == "OOM":
        raise SkippedError("ran out of memory")
    framework = row["framework"]
    for name, read in READERS.items():
        if framework.startswith(name):
            return read(row)
    raise SkippedError("lengths, batch or what was measured are not stated")


def torchtune(row: Row) -> Settings:
    """Of torchtune 0.6: everything in bf16, its own modules, the head's loss in pieces."""
    shape = model(row)
    if "ragged" in row["seq_note"]:
        raise SkippedError("texts of unequal lengths: the longest batch is not known")
    if "doubtful" in row["notes"]:
        raise SkippedError(f"the row itself is in doubt: {row['notes']}")
    full, compiled = row["strategy"] == "full", row["compile"] == "yes"
    ckpt = not row["act_ckpt"].startswith("off")
    in_backward = "in-bwd" in row["optimizer"] or "optimizer_in_bwd" in row["notes"]
    eight_bit = "8bit" in row["optimizer"].lower() or "8bit" in row["notes"].lower()
    paged = "paged" in (row["optimizer"] + row["notes"]).lower()
    rank = re.search(r"r(\d+)", row["lora_targets_rank"])
    training = Training(
        strategy=row["strategy"],
        precision="pure_bf16",
        optimizer=("paged_" if paged else "") + "adamw_8bit" if eight_bit else "adamw",
        micro_batch_size=int(row["micro_batch"]),
        max_seq_len=int(row["seq_len"]),
        activation_checkpointing=ckpt,
        loss_head="full" if "full" in row["loss_head"] else "split",
        lora_rank=int(rank[1]) if rank else 16,
        lora_targets=tuple(name for name in ALL if name != "k_proj"),
        lora_precision="bf16",
        optimizer_in_backward=in_backward,
        parallelism="fsdp" if int(row["n_gpus"]) > 1 else "single",
        gpu_count=int(row["n_gpus"]),
    )
    # counted on its modules; torch.compile computes norms and their products again
    saved = (28.0, 0.0, 8.0) if full else (20.0, 0.0, 8.0)
    program = Program(
        saved=(12.0, 0.0, 8.0 if full else 6.0) if compiled else saved,
        # torch.compile fuses the loss of a piece: only its 16-bit logits stay
        logit_bytes=2 if compiled else 4,
        piece_bytes=2 if compiled else 12,
        offloads="offload" in row["act_ckpt"],
        # the 8-bit AdamW of torchao steps on fp32 copies of the weight and both states
        step_bytes=12 if eight_bit and not paged else 0,
    )
    return shape, training, program


def litgpt(row: Row) -> Settings:
    """Of litgpt: everything in bf16, its own modules, untied heads, the loss in pieces."""
    name = row["model"].strip().lower().replace(" ", "-")
    name = ALIASES.get(name, name)
    shape = untied(model(row))
    if int(row["n_gpus"]) > 1 and row["strategy"] == "full":
        raise SkippedError("sharded over several GPUs with FSDP1 in a setting that is not stated")
    qlora = row["strategy"].startswith("qlora")
    hub = "config_hub" in row["framework"]
    everything = hub and name in LITGPT_ALL
    rank = LITGPT_ALL[name][qlora] if everything else 32 if hub else 8
    eager = shape.family == "gemma2"
    parallel = shape.family in ("gpt_neox", "phi", "falcon")
    full = row["strategy"] == "full"
    # counted on its modules, with the adapters' inputs and a dropout mask of one byte
    if full:
        saved: Saved = (20, 0, 4) if parallel else (48 if eager else 34, 0, 8)
    elif everything:
        saved = (23, 0, 5) if parallel else (38 if eager else 32, 0, 9)
    else:
        saved = (21, 0, 2) if parallel else (33 if eager else 27, 0, 6)
    if not parallel and shape.kv_heads < shape.heads:
        saved = (saved[0] - 5, 0, saved[2])  # K and V are copied, so the fused product is freed
    if qlora and hub:  # what tiny-llama's two rows differ by; its mechanism is not known
        saved = (saved[0] + 12, 0, saved[2] + 4)
    elif qlora:  # bitsandbytes then kept the input of each quantised matrix
        saved = (saved[0] + 6, 0, saved[2] + 2)
    training = Training(
        strategy="qlora" if qlora else row["strategy"],
        precision="pure_bf16",
        micro_batch_size=int(row["micro_batch"]),
        max_seq_len=int(row["seq_len"]),
        accumulation=2,  # or more: all its configurations accumulate
        attention="eager" if eager else "sdpa",
        loss_head="split",
        lora_rank=rank,
        lora_targets=() if everything else targets(shape),
        lora_precision="bf16",
        double_quantization="dq" in row["strategy"],
    )
    # rows with an adapted head need 4 bytes a logit more; why is not known
    logit_bytes = 8 if everything else 4
    return shape, training, Program(saved, logit_bytes=logit_bytes, quantizes_head=qlora)


def targets(shape: Any) -> tuple[str, ...]:
    """Queries and values, or the fused map that holds them."""
    fused = {"gpt_neox": "query_key_value", "falcon": "query_key_value", "phi3": "qkv_proj"}
    return (fused[shape.family],) if shape.family in fused else ("q_proj", "v_proj")


def untied(shape: Any) -> Any:
    """The same model with its head held a second time."""
    if not shape.tied:
        return shape
    return replace(shape, tied=False, params=shape.params + shape.vocab * shape.hidden)


def torchtitan(row: Row) -> Settings:
    """Of torchtitan: FSDP2 with fp32 weights and 16-bit (or 8-bit) products, compiled."""
    if row["act_ckpt"].startswith("selective"):
        raise SkippedError("selective checkpointing under torch.compile has no setting here")
    parts = dict(re.findall(r"(FSDP|CP)(\d+)", row["parallel"]))
    if parts.get("CP", "1") != "1":
        raise SkippedError("a sequence cut over several GPUs has no setting here")
    training = Training(
        micro_batch_size=int(row["micro_batch"]),
        max_seq_len=int(row["seq_len"]),
        activation_checkpointing=True,
        parallelism="fsdp",
        gpu_count=int(parts.get("FSDP", row["n_gpus"])),
    )
    return model(row), training, Program(saved=(12, 0, 8))


def hf_trainer(row: Row) -> Settings:
    """The Trainer of 2022: BERT, gradients set to zero but kept, eager attention."""
    if row["optimizer"] == "Adafactor":
        raise SkippedError("the estimate has no Adafactor")
    training = Training(
        precision="fp32" if row["precision"] == "fp32" else "fp16",
        optimizer="adamw_8bit" if "8bit" in row["optimizer"] else "adamw",
        micro_batch_size=int(row["micro_batch"]),
        max_seq_len=int(row["seq_len"]),
        accumulation=2,
        activation_checkpointing=row["act_ckpt"] == "on",
        attention="eager",
    )
    return model(row), training, Program()


def timm(row: Row) -> Settings:
    """A compiled vision transformer, fp32 weights under autocast."""
    if row["optimizer"] not in ("fused AdamW", "ao 8-bit"):
        raise SkippedError("the estimate has no AdamW with states of this kind")
    training = Training(
        optimizer="adamw" if row["optimizer"] == "fused AdamW" else "adamw_8bit",
        micro_batch_size=int(row["micro_batch"]),
    )
    return estimate.find_model("google/vit-huge-patch14-224-in21k"), training, Program()


READERS = {
    "timm": timm,
    "torchtune 0.6": torchtune,
    "litgpt": litgpt,
    "torchtitan": torchtitan,
    "HF Trainer 2022": hf_trainer,
}
