"""A generated project that is looked at: its trainings, and the models that they start from."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from answers import HEADS, NO_DROPOUT
from proof.config import load_config
from proof.data import TASK, load
from proof.model import build_model
from proof.pretrained import save_trained
from proof.processor import get_processor
from proof.training import train
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForSequenceClassification

WORK = Path(sys.argv[2]).resolve() / sys.argv[1]
BASE, DROPPING = WORK / "base", WORK / "base-dropout"
LLM = TASK == "llm"


def configure(name: str, *words: str, base: Path = BASE) -> Any:
    """The smoke test's configuration from a base model, in a folder of its own."""
    given = (f"model.name_or_path={base}", f"train.output_dir={WORK / 'runs' / name}")
    if LLM and not any(word.startswith("train.packing") for word in words):
        given += ("train.packing=false",)
    arguments = [f"--{word}" for word in (*given, "train.resume=auto", *words)]
    return load_config(["--config", "configs/smoke.yaml", *arguments])


def run(name: str, *words: str, base: Path = BASE) -> Path:
    """Train from the start; the run's folder."""
    config = configure(name, *words, base=base)
    shutil.rmtree(config.train.output_dir, ignore_errors=True)
    return Path(train(config).run.path)


def lines(path: Path) -> list[dict[str, Any]]:
    """Of metrics.jsonl."""
    return [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]


def weights(path: Path) -> dict[str, torch.Tensor]:
    """Of the final model."""
    return {
        name: tensor
        for file in sorted((path / "final").glob("*.safetensors"))
        for name, tensor in load_file(file).items()
    }


def make_bases() -> None:
    """A small random model, once without dropout and once with; 16 rows; for text, all heads."""
    config = configure("base").model_copy(deep=True)
    config.model.name_or_path = "scratch"
    processor = get_processor(config)
    data = load(config, processor)
    torch.manual_seed(0)
    model = build_model(config, processor, data, torch.float32)
    save_trained(model, processor, BASE)
    shutil.copytree(BASE, DROPPING)
    edit(BASE, 0.0)
    edit(DROPPING, 0.1)
    rows = {
        f"{i}.{name}": array[0]
        for i in range(16)
        for name, array in data.batch(data.train, [i]).items()
    }
    np.savez(WORK / "rows.npz", **rows)
    if TASK == "text_classification":
        for kind, shape in HEADS.items():
            none = dict.fromkeys(NO_DROPOUT, 0.0)
            given = AutoConfig.for_model(kind).to_dict()
            changed = {k: v for k, v in none.items() if k in given}
            pad = processor.pad_token_id
            head = AutoConfig.for_model(
                kind, **(shape | changed), vocab_size=len(processor), pad_token_id=pad
            )
            for key in ("id2label", "label2id"):
                setattr(head, key, getattr(model.config, key))
            torch.manual_seed(0)
            small = AutoModelForSequenceClassification.from_config(head, dtype=torch.float32)
            small.save_pretrained(WORK / kind)
            processor.save_pretrained(WORK / kind)


def edit(folder: Path, dropout: float) -> None:
    """Write one dropout wherever the architecture has any."""
    file = folder / "config.json"

    def changed(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {k: dropout if k in NO_DROPOUT else changed(v) for k, v in value.items()}

    file.write_text(json.dumps(changed(json.loads(file.read_text()))))


def child(*command: str | Path) -> subprocess.CompletedProcess[str]:
    """Run Python in the project."""
    return subprocess.run(
        [sys.executable, *map(str, command)],
        env={**os.environ, "PYTHONPATH": "src"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
