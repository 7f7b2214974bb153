"""Prediction from a trained model's folder; the only thing that serving knows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self, TypedDict

import numpy as np
import torch

from .identity import identity
from .inputs import DECODES, PROBES, Input, collate, encode, length, prepare, read_input
from .model import AUTO_CLASS
from .pretrained import load, load_trained, pick_device
from .processor import PROCESSOR_CLASS

__all__ = ["PROBES", "PROBE_OPTIONS", "Input", "Output", "Predictor"]

BATCH_SIZE = 32
SCORE_DIGITS = 6  # a float32 holds no more; written as a float64 it would end in noise
PROBE_OPTIONS: dict[str, Any] = {}


class Output(TypedDict):
    """The likeliest class, its probability, and those of all classes."""

    label: str
    score: float
    scores: dict[str, float]


class Predictor:
    """A classifier ready to use.

    `read` and `length` may be called from any thread, the rest from one at a time.
    """

    DECODES = DECODES

    def __init__(
        self, model: Any, processor: Any, name: str, version: str, digest: str = ""
    ) -> None:
        self.model, self.processor = model.eval(), processor
        self.name, self.version, self.digest = name, version, digest
        labels = self.model.config.id2label
        self.labels = [labels[i] for i in range(len(labels))]

    @classmethod
    def load(cls, path: str | Path, device: str = "auto") -> Self:
        """Load what training or export wrote. Raises UserError where it is not such a folder."""
        folder = Path(path)
        model = load_trained(AUTO_CLASS, folder, pick_device(device), dtype=torch.float32)
        processor = load(PROCESSOR_CLASS, str(folder))
        return cls(model, processor, *identity(folder))

    def predict(self, inputs: Sequence[Input], limit: float | None = None) -> list[Output]:
        """Classify; one output per input, in order; `limit` as in `read`.

        Raises UserError for a bad input.
        """
        items = [read_input(item, number, limit) for number, item in enumerate(inputs, start=1)]
        # inputs of like length share a batch, which saves padding
        order = sorted(range(len(items)), key=lambda i: length(items[i]))
        outputs: dict[int, Output] = {}
        for start in range(0, len(order), BATCH_SIZE):
            indices = order[start : start + BATCH_SIZE]
            scores = self.scores(encode([items[i] for i in indices], self.processor))
            outputs.update(zip(indices, self.outputs(scores), strict=True))
        return [outputs[i] for i in range(len(inputs))]

    def read(self, item: Input, number: int, limit: float | None = None) -> Any:
        """Check one input and decode it, for `run`; `number` names it in messages.

        `limit`: pixels of an image or seconds of sound, at most. Raises UserError.
        """
        return prepare(read_input(item, number, limit), self.processor)

    def length(self, read: Any) -> int:
        """What decides how much padding an input that was read needs."""
        return length(read)

    def run(self, reads: Sequence[Any]) -> list[Output]:
        """Classify one batch of what `read` gave."""
        return self.outputs(self.scores(self.encode(reads)))

    def encode(self, reads: Sequence[Any]) -> dict[str, torch.Tensor]:
        """The model's inputs for one batch of what `read` gave."""
        return collate(reads, self.processor)

    @torch.inference_mode()
    def scores(self, encoded: dict[str, torch.Tensor]) -> np.ndarray:
        """Probabilities, shape (B, classes)."""
        probabilities: np.ndarray = self._logits(encoded).softmax(dim=-1).cpu().numpy()
        return probabilities

    def outputs(self, scores: np.ndarray) -> list[Output]:
        """What the rows of `scores` say, to SCORE_DIGITS."""
        labels = self.labels
        rounded = scores.astype(np.float64).round(SCORE_DIGITS).tolist()
        return [
            {
                "label": labels[best],
                "score": row[best],
                "scores": dict(zip(labels, row, strict=True)),
            }
            for best, row in zip(scores.argmax(axis=1).tolist(), rounded, strict=True)
        ]

    def logits(self, inputs: Sequence[Input]) -> torch.Tensor:
        """Scores before the softmax, shape (N, classes)."""
        items = [read_input(item, number) for number, item in enumerate(inputs, start=1)]
        return self._logits(encode(items, self.processor))

    def _logits(self, encoded: dict[str, torch.Tensor]) -> torch.Tensor:
        batch = {name: values.to(self.model.device) for name, values in encoded.items()}
        return self.model(**batch).logits.float()
