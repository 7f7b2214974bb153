"""What every classifier shares, whatever it looks at: classes, new modules, loss."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from .config import Config
from .data import Dataset
from .pretrained import HEAD_NAMES


def class_names(data: Dataset) -> dict[str, Any]:
    """The keys of a model's configuration that name its classes."""
    return {
        "num_labels": len(data.labels),
        "id2label": dict(enumerate(data.labels)),
        "label2id": {label: i for i, label in enumerate(data.labels)},
    }


def new_modules(model: Any) -> list[str]:
    """Names of the freshly initialised modules, trained whole beside adapters.

    Beside the head there may be more: BERT's pooler is inside of the encoder, and a checkpoint
    of its masked language model lacks it.
    """
    names = [name for name, _ in model.named_children() if name in HEAD_NAMES]
    for weight in getattr(model, "missing_weights", ()):
        module = weight.rpartition(".")[0]
        if module and not any(f"{module}.".startswith(f"{name}.") for name in names):
            names.append(module)
    return names


def loss_and_logits(
    model: Any, batch: dict[str, torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Sum of the cross-entropy over the batch (nats), and the logits (B, classes).

    The caller divides by the number of samples in the whole global batch, so that the
    gradient is the same however the batch is cut into micro-batches.
    """
    inputs = {name: values for name, values in batch.items() if name != "labels"}
    logits_BC = model(**inputs).logits.float()
    loss = F.cross_entropy(logits_BC, batch["labels"], reduction="sum")
    return loss, logits_BC


def predictions(logits_BC: torch.Tensor) -> torch.Tensor:
    """The likeliest class ids, (B,)."""
    return logits_BC.argmax(dim=-1)


def check(model: Any, config: Config, device: torch.device) -> None:
    """Nothing beside the configuration can be wrong with a classifier."""
