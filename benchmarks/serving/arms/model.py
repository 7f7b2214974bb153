"""The model of every arm: the same folder, tokens and answer; what is computed is counted."""

from __future__ import annotations

import mmap
import os
import struct
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

MODEL = os.environ.get("BENCH_MODEL", "")
MAX_BATCH = int(os.environ.get("BENCH_MAX_BATCH", "32"))
PORT = int(os.environ.get("BENCH_PORT", "0"))


def count_rows(model: Any) -> None:
    """Add up the rows that pass through `model`, in the file that the harness reads."""
    path = Path(os.environ["BENCH_COUNT"])
    file = path.open("r+b")
    shared = mmap.mmap(file.fileno(), 16)
    total = calls = 0

    def hook(module: Any, args: Any, kwargs: Any) -> None:
        nonlocal total, calls
        total, calls = total + len(kwargs["input_ids"]), calls + 1
        struct.pack_into("<QQ", shared, 0, total, calls)

    model.register_forward_pre_hook(hook, with_kwargs=True)


class Classifier:
    """Texts in, labels with their scores out."""

    def __init__(self) -> None:
        torch.set_num_threads(1)
        self.tokenizer = AutoTokenizer.from_pretrained(MODEL)
        self.model = AutoModelForSequenceClassification.from_pretrained(MODEL).eval()
        self.names = self.model.config.id2label
        self.predict(["warm up"])
        self.predict(["warm up"] * MAX_BATCH)
        count_rows(self.model)

    @torch.inference_mode()
    def predict(self, texts: list[str]) -> list[dict[str, Any]]:
        """One batch."""
        batch = self.tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
        probabilities = self.model(**batch).logits.softmax(dim=-1).tolist()
        return [self._answer(row) for row in probabilities]

    def _answer(self, row: list[float]) -> dict[str, Any]:
        scores = {self.names[i]: p for i, p in enumerate(row)}
        label = max(scores, key=lambda name: scores[name])
        return {"label": label, "score": scores[label], "scores": scores}
