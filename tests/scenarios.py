"""What people come with, and the defaults that an experienced engineer would accept for it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

LLAMA_8B = "meta-llama/Llama-3.1-8B"


@dataclass
class Scenario:
    """What is given, what is expected, and a number that a reason must name."""

    name: str
    given: dict[str, Any]
    expected: dict[str, Any]
    gpus: tuple[str, ...] = ()
    needs_gib: tuple[float, float] | None = None
    """Where the memory in the reason of the strategy must lie."""
    says: dict[str, str] = field(default_factory=dict)
    """Words in a reason, by question."""


SCENARIOS = [
    Scenario(
        "a classifier of 0.1 B on a laptop",
        {"task": "text_classification"},
        {
            "gpu": "none",
            "base_model": "distilbert/distilbert-base-uncased",
            "strategy": "full",
            "platform": "local",
            "serving": ["fastapi"],
            "activation_checkpointing": False,
        },
        needs_gib=(0.9, 1.5),
        says={"base_model": "67 M"},
    ),
    Scenario(
        "1 B in full on a T4: too large, so LoRA",
        {"task": "llm", "base_model": "meta-llama/Llama-3.2-1B"},
        {"gpu": "T4", "strategy": "lora", "precision": "fp16", "max_seq_len": 1024},
        gpus=("Tesla T4",),
        needs_gib=(4.0, 6.5),
        says={"strategy": "1.2 B"},
    ),
    Scenario(
        "8 B with LoRA on an L4",
        {"task": "llm", "gpu": "L4", "base_model": LLAMA_8B},
        {
            "strategy": "lora",
            "parallelism": "single",
            "precision": "bf16",
            "activation_checkpointing": True,
            "max_seq_len": 1024,
        },
        needs_gib=(18, 22),
    ),
    Scenario(
        "8 B with LoRA on an A100 of 40 GB",
        {"task": "llm", "gpu": "A100-40GB", "base_model": LLAMA_8B},
        {"strategy": "lora", "activation_checkpointing": False, "micro_batch_size": 2},
        needs_gib=(18, 22),
    ),
    Scenario(
        "8 B with LoRA on an A100 of 80 GB",
        {"task": "llm", "gpu": "A100-80GB", "base_model": LLAMA_8B},
        {"strategy": "lora", "activation_checkpointing": False, "micro_batch_size": 4},
        needs_gib=(18, 22),
    ),
    Scenario(
        "8 B with LoRA on an H100",
        {"task": "llm", "gpu": "H100", "base_model": LLAMA_8B},
        {"strategy": "lora", "activation_checkpointing": False, "micro_batch_size": 4},
        needs_gib=(18, 22),
    ),
    Scenario(
        "14 B on an RTX 4090: LoRA does not fit, QLoRA does",
        {"task": "llm", "base_model": "Qwen/Qwen2.5-14B"},
        {"gpu": "RTX 4090", "strategy": "qlora", "platform": "local", "max_seq_len": 1024},
        gpus=("NVIDIA GeForce RTX 4090",),
        needs_gib=(12, 18),
    ),
    Scenario(
        "32 B on an A100 of 80 GB: LoRA fits one row, QLoRA leaves room",
        {"task": "llm", "gpu": "A100-80GB", "base_model": "Qwen/Qwen2.5-32B"},
        {"strategy": "qlora", "learning_rate": "1e-4", "max_seq_len": 1024},
        needs_gib=(20, 32),
    ),
    Scenario(
        "70 B on 8 H100: shared LoRA rather than 4 bit",
        {"task": "llm", "gpu": "H100", "gpu_count": 8, "base_model": "meta-llama/Llama-3.1-70B"},
        {"strategy": "lora", "parallelism": "fsdp", "max_seq_len": 1024},
        needs_gib=(22, 45),
        says={"strategy": "shared by fsdp", "parallelism": "Shared by 8 GPUs"},
    ),
    Scenario(
        "ViT-L",
        {"task": "image_classification", "gpu": "L4", "base_model": "google/vit-large-patch16-224"},
        {"strategy": "full", "parallelism": "single", "precision": "bf16"},
        needs_gib=(4, 8),
        says={"strategy": "303 M"},
    ),
    Scenario(
        "Whisper-large",
        {"task": "audio_classification", "gpu": "L4", "base_model": "openai/whisper-large-v3"},
        {"strategy": "full", "precision": "bf16"},
        needs_gib=(9, 16),
        says={"strategy": "637 M"},
    ),
    Scenario(
        "a vision-language model of 7 B",
        {"task": "multimodal", "gpu": "A100-40GB", "base_model": "Qwen/Qwen2.5-VL-7B-Instruct"},
        {"strategy": "lora", "parallelism": "single"},
        needs_gib=(17, 30),
        says={"strategy": "8.3 B"},
    ),
    Scenario(
        "sensitive data",
        {"task": "llm", "sensitive_data": True, "budget_usd": 500.0},
        {"gpu": "none", "platform": "local"},
        says={"gpu": "may not leave", "platform": "stays on your own machines"},
    ),
    Scenario(
        "20 dollars",
        {"task": "llm", "budget_usd": 20.0},
        {"base_model": "Qwen/Qwen3-8B", "strategy": "lora", "gpu_count": 1},
        says={"gpu": "20 USD buy about"},
    ),
    Scenario(
        "a CPU only",
        {"task": "llm"},
        {
            "gpu": "none",
            "base_model": "HuggingFaceTB/SmolLM2-135M-Instruct",
            "strategy": "full",
            "precision": "fp32",
            "max_seq_len": 256,
            "parallelism": "single",
        },
        needs_gib=(1.8, 3.0),
    ),
]
