"""Prediction from a trained model's folder; the only thing that serving knows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self, TypedDict

import torch

from .errors import UserError
from .model import AUTO_CLASS
from .pretrained import identity, load, load_trained, pick_device

BATCH_SIZE = 32


class Output(TypedDict):
    """The likeliest class, its probability, and those of all classes."""

    label: str
    score: float
    scores: dict[str, float]


class Predictor:
    """A classifier ready to use. Not safe to call from two threads at once."""

    def __init__(self, model: Any, tokenizer: Any, name: str, version: str) -> None:
        self.model, self.tokenizer = model.eval(), tokenizer
        self.name, self.version = name, version

    @classmethod
    def load(cls, path: str | Path, device: str = "auto") -> Self:
        """Load what training or export wrote. Raises UserError where it is not such a folder."""
        from transformers import AutoTokenizer

        folder = Path(path)
        model = load_trained(AUTO_CLASS, folder, dtype=torch.float32)
        tokenizer = load(AutoTokenizer, str(folder))
        return cls(model.to(pick_device(device)), tokenizer, *identity(folder))

    @torch.inference_mode()
    def predict(self, inputs: Sequence[str]) -> list[Output]:
        """Classify texts; one output per input, in order. Raises UserError for an empty text."""
        for number, text in enumerate(inputs, start=1):
            if not isinstance(text, str) or not text.strip():
                raise UserError(f"input {number} is empty or no text")
        # texts of like length share a batch, which saves padding
        order = sorted(range(len(inputs)), key=lambda i: len(inputs[i]))
        outputs: dict[int, Output] = {}
        for start in range(0, len(order), BATCH_SIZE):
            indices = order[start : start + BATCH_SIZE]
            for i, probabilities in zip(
                indices, self._probabilities([inputs[i] for i in indices]), strict=True
            ):
                outputs[i] = self._output(probabilities)
        return [outputs[i] for i in range(len(inputs))]

    def logits(self, texts: Sequence[str]) -> torch.Tensor:
        """Scores before the softmax, shape (N, classes)."""
        encoded = self.tokenizer(
            list(texts),
            padding=True,
            truncation=True,
            max_length=self._max_length(),
            return_tensors="pt",
        ).to(self.model.device)
        return self.model(
            input_ids=encoded["input_ids"], attention_mask=encoded["attention_mask"]
        ).logits.float()

    def _probabilities(self, texts: Sequence[str]) -> list[list[float]]:
        return self.logits(texts).softmax(dim=-1).tolist()

    def _output(self, probabilities: list[float]) -> Output:
        names = self.model.config.id2label
        scores = {names[i]: p for i, p in enumerate(probabilities)}
        label = max(scores, key=lambda name: scores[name])
        return {"label": label, "score": scores[label], "scores": scores}

    def _max_length(self) -> int:
        positions = getattr(self.model.config, "max_position_embeddings", None)
        return min(self.tokenizer.model_max_length, positions or self.tokenizer.model_max_length)
