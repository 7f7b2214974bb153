"""Loss, perplexity and next-token accuracy."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .chat import IGNORE
from .data import Batch, num_targets

MAX_EXPONENT = 700.0  # exp overflows a float beyond 709


class Metrics:
    """Collects predictions batch by batch; logits are never kept."""

    def __init__(self, labels: tuple[str, ...] = ()) -> None:
        self.loss_sum = 0.0
        self.correct = 0
        self.total = 0

    def update(self, batch: Batch, predictions: np.ndarray, loss_sum: float) -> None:
        """Add a batch: `predictions` (B, L), entry t the guess for token t; `loss_sum` in nats."""
        targets = batch["labels"]
        self.correct += int(((predictions == targets) & (targets != IGNORE)).sum())
        self.total += num_targets(batch)
        self.loss_sum += loss_sum

    def scalars(self) -> dict[str, float]:
        """The numbers that go into metrics.jsonl. Perplexity is exp(mean loss per token)."""
        loss = self.loss_sum / self.total
        return {
            "eval_loss": loss,
            "eval_perplexity": math.exp(min(loss, MAX_EXPONENT)),
            "eval_token_accuracy": self.correct / self.total,
        }

    def report(self) -> dict[str, Any]:
        """Everything, for evaluation.json."""
        return {**self.scalars(), "eval_tokens": self.total}
