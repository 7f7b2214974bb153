"""Prediction from a trained model's folder; the only thing that serving knows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self, TypedDict

import torch

from .inputs import PROBES, Input, encode, length, read_input
from .model import AUTO_CLASS
from .pretrained import identity, load, load_trained, pick_device
from .processor import PROCESSOR_CLASS

__all__ = ["PROBES", "PROBE_OPTIONS", "Input", "Output", "Predictor"]

BATCH_SIZE = 32
PROBE_OPTIONS: dict[str, Any] = {}


class Output(TypedDict):
    """The likeliest class, its probability, and those of all classes."""

    label: str
    score: float
    scores: dict[str, float]


class Predictor:
    """A classifier ready to use. Not safe to call from two threads at once."""

    def __init__(self, model: Any, processor: Any, name: str, version: str) -> None:
        self.model, self.processor = model.eval(), processor
        self.name, self.version = name, version

    @classmethod
    def load(cls, path: str | Path, device: str = "auto") -> Self:
        """Load what training or export wrote. Raises UserError where it is not such a folder."""
        folder = Path(path)
        model = load_trained(AUTO_CLASS, folder, pick_device(device), dtype=torch.float32)
        processor = load(PROCESSOR_CLASS, str(folder))
        return cls(model, processor, *identity(folder))

    @torch.inference_mode()
    def predict(self, inputs: Sequence[Input]) -> list[Output]:
        """Classify; one output per input, in order. Raises UserError for a bad input."""
        items = [read_input(item, number) for number, item in enumerate(inputs, start=1)]
        # inputs of like length share a batch, which saves padding
        order = sorted(range(len(items)), key=lambda i: length(items[i]))
        outputs: dict[int, Output] = {}
        for start in range(0, len(order), BATCH_SIZE):
            indices = order[start : start + BATCH_SIZE]
            logits = self._logits([items[i] for i in indices])
            for i, probabilities in zip(indices, logits.softmax(dim=-1).tolist(), strict=True):
                outputs[i] = self._output(probabilities)
        return [outputs[i] for i in range(len(inputs))]

    def logits(self, inputs: Sequence[Input]) -> torch.Tensor:
        """Scores before the softmax, shape (N, classes)."""
        return self._logits([read_input(item, i) for i, item in enumerate(inputs, start=1)])

    def _logits(self, items: list[Any]) -> torch.Tensor:
        encoded = encode(items, self.processor, self.model.config)
        batch = {name: values.to(self.model.device) for name, values in encoded.items()}
        return self.model(**batch).logits.float()

    def _output(self, probabilities: list[float]) -> Output:
        names = self.model.config.id2label
        scores = {names[i]: p for i, p in enumerate(probabilities)}
        label = max(scores, key=lambda name: scores[name])
        return {"label": label, "score": scores[label], "scores": scores}
