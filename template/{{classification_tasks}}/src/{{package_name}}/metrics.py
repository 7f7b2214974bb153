"""Accuracy, macro-F1 and the confusion matrix."""

from __future__ import annotations

from typing import Any

import numpy as np

from .data import Batch


class Metrics:
    """Collects predictions batch by batch; memory does not grow with the data."""

    def __init__(self, labels: list[str]) -> None:
        self.labels = labels
        self.confusion = np.zeros((len(labels), len(labels)), dtype=np.int64)
        self.loss_sum = 0.0

    def update(self, batch: Batch, predictions: np.ndarray, loss_sum: float) -> None:
        """Add a batch: `predictions` (B,) class ids, `loss_sum` over its targets."""
        np.add.at(self.confusion, (batch["labels"], predictions), 1)
        self.loss_sum += loss_sum

    def scalars(self) -> dict[str, float]:
        """The numbers that go into metrics.jsonl."""
        total = self.confusion.sum()
        correct = np.diag(self.confusion)
        # F1 = 2 TP / (2 TP + FP + FN), of the classes that occur on either side, as in scikit-learn
        denominator = self.confusion.sum(axis=0) + self.confusion.sum(axis=1)
        f1 = 2 * correct[denominator > 0] / denominator[denominator > 0]
        return {
            "eval_loss": float(self.loss_sum / total),
            "eval_accuracy": float(correct.sum() / total),
            "eval_macro_f1": float(f1.mean()),
        }

    def report(self) -> dict[str, Any]:
        """Everything, for evaluation.json. Rows of the matrix are true classes."""
        return {
            **self.scalars(),
            "labels": self.labels,
            "confusion_matrix": self.confusion.tolist(),
            "majority_class_accuracy": float(
                self.confusion.sum(axis=1).max() / self.confusion.sum()
            ),
        }
