"""Trainings with transformers.Trainer and TRL's SFTTrainer on the models and rows of ours.py."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from transformers import (
    AutoModelForAudioClassification,
    AutoModelForCausalLM,
    AutoModelForImageClassification,
    AutoModelForImageTextToText,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorForLanguageModeling,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)
from trl import SFTConfig, SFTTrainer

TOOL, WORK, CHATS = sys.argv[1], Path(sys.argv[2]).resolve(), Path(sys.argv[3])
TRL = TOOL == "trl"
HERE = Path(__file__).resolve().parent
BASE = WORK / "llm" / "base"
CLASSES: dict[str, Any] = {
    "llm": AutoModelForCausalLM,
    "text_classification": AutoModelForSequenceClassification,
    "image_classification": AutoModelForImageClassification,
    "audio_classification": AutoModelForAudioClassification,
    "multimodal": AutoModelForImageTextToText,
}


class Normalized(Trainer):
    """The remedy for heads that do not normalise by the whole batch's samples."""

    loss_is_scaled_for_ga = False


class At(TrainerCallback):
    """Does something before a step."""

    def __init__(self, step: int, action: Any) -> None:
        self.step, self.action = step, action

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Called by the trainer."""
        if state.global_step == self.step:
            self.action()


class Rows(torch.utils.data.Dataset[dict[str, Any]]):
    """The 16 rows of a task as arrays; with `noise`, other ones each time, as augmentation does."""

    def __init__(self, task: str, noise: bool) -> None:
        kept = np.load(WORK / task / "rows.npz")
        self.rows = [
            {k.partition(".")[2]: kept[k] for k in kept.files if k.startswith(f"{i}.")}
            for i in range(16)
        ]
        self.noise = noise

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        row = {k: torch.from_numpy(np.asarray(v)) for k, v in self.rows[index].items()}
        if self.noise:
            row = {
                k: v + 0.1 * torch.randn(v.shape) if v.is_floating_point() else v
                for k, v in row.items()
            }
        return row


def collate(rows: list[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """Pad on the right: labels with -100, the rest with 0; what is padded is not attended to."""
    batch = {}
    for name in rows[0]:
        values = [row[name] for row in rows]
        value = -100 if name == "labels" else 0
        ragged = values[0].ndim == 1 and not values[0].is_floating_point()
        pad = partial(torch.nn.utils.rnn.pad_sequence, batch_first=True, padding_value=value)
        batch[name] = pad(values) if ragged else torch.stack(values)
    if "input_ids" in batch and "attention_mask" not in batch:
        lengths = torch.tensor([len(row["input_ids"]) for row in rows])
        width = torch.arange(batch["input_ids"].shape[1])
        batch["attention_mask"] = (width < lengths[:, None]).long()
    batch.pop("position_ids", None)
    return batch


def arguments(name: str, **more: Any) -> dict[str, Any]:
    """Settings that all trainings here share."""
    given = {"output_dir": str(WORK / "runs" / f"{TOOL}-{name}"), "use_cpu": True, "seed": 0}
    given |= {"logging_steps": 1, "report_to": "none", "disable_tqdm": True, "bf16": False}
    given |= {"learning_rate": 1e-3, "max_steps": 1, "save_strategy": "no"}
    given |= {"lr_scheduler_type": "cosine"}
    return given | more


def chats(count: int = 200) -> list[list[dict[str, str]]]:
    """The sample's conversations."""
    lines = CHATS.read_text("utf-8").splitlines()[:count]
    return [json.loads(line)["messages"] for line in lines]


def on_chats(
    name: str, base: Path = BASE, cut: int = 256, count: int = 200, **more: Any
) -> Trainer:
    """Either tool on conversations; TRL gets them as they are, Trainer as most scripts do."""
    special = {k: more.pop(k) for k in ("rows", "peft_config", "model", "callbacks") if k in more}
    rows = special.pop("rows", None) or [{"messages": chat} for chat in chats(count)]
    given = arguments(name, **more)
    if TRL:
        given = {"max_length": cut, "gradient_checkpointing": False, **given}
        model = special.pop("model", str(base))
        data = Dataset.from_list(rows)
        return SFTTrainer(
            model=model, args=SFTConfig(**given), train_dataset=data, eval_dataset=data, **special
        )
    tokenizer = AutoTokenizer.from_pretrained(base)
    special.pop("peft_config", None)
    texts = [
        tokenizer.apply_chat_template(r["messages"], tokenize=False)
        for r in rows
        if "messages" in r
    ]
    tokens = [
        tokenizer(text, add_special_tokens=False, truncation=True, max_length=cut) for text in texts
    ]
    data = Dataset.from_list([dict(row) for row in tokens])
    return Trainer(
        model=special.pop("model", None) or AutoModelForCausalLM.from_pretrained(base),
        args=TrainingArguments(**given),
        train_dataset=data,
        eval_dataset=data,
        data_collator=DataCollatorForLanguageModeling(tokenizer, mlm=False),
        **special,
    )


def on_rows(name: str, task: str, base: Path, noise: bool = False, **more: Any) -> Trainer:
    """Trainer on the very arrays that our model gets."""
    callbacks = more.pop("callbacks", None)
    kind = more.pop("trainer", Trainer)
    return kind(
        model=CLASSES[task].from_pretrained(base, dtype=torch.float32),
        args=TrainingArguments(**arguments(name, remove_unused_columns=False, **more)),
        train_dataset=Rows(task, noise),
        data_collator=collate,
        callbacks=callbacks,
    )


def one(job: dict[str, Any]) -> None:
    """A training in a process of its own, which may be killed; prints the first gradient's norm."""
    job = dict(job)
    task, base, kill = job.pop("task"), Path(job.pop("base")), job.pop("kill", 0)
    resume, name, noise = job.pop("resume", False), job.pop("name"), job.pop("noise", False)
    callbacks = [At(kill, lambda: os.kill(os.getpid(), signal.SIGKILL))] if kill else []
    if TRL:
        trainer = on_chats(name, base, callbacks=callbacks, **job)
    else:
        trainer = on_rows(name, task, base, noise, callbacks=callbacks, **job)
    trainer.train(resume_from_checkpoint=resume or None)
    if trainer.is_world_process_zero():
        trainer.save_model()
        norms = [x["grad_norm"] for x in trainer.state.log_history if "grad_norm" in x]
        print(f"\nnorm {float(norms[0])!r}")


def process(job: dict[str, Any], number: int = 1, fails: bool = False) -> float:
    """`one` in as many processes; the first gradient's norm."""
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(number)]
    command = [sys.executable, *(launcher if number > 1 else []), str(HERE / "baselines.py")]
    done = subprocess.run(
        [*command, *sys.argv[1:4], json.dumps(job)], capture_output=True, text=True, check=False
    )
    if fails:
        return 0.0
    assert done.returncode == 0, done.stderr[-2000:]
    return float(next(x.split()[1] for x in done.stdout.splitlines() if x.startswith("norm ")))
