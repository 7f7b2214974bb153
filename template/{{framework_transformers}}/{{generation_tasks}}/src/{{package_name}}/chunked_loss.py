"""The output layer and its loss a few tokens at a time.

The logits of a step (tokens x vocabulary) are its largest tensor, and the loss keeps several
copies: 4096 tokens of a vocabulary of 128,256 are 2 GiB in fp32, each. Here only the tokens that
are targets go through the output layer, CHUNK at a time, and their logits are computed again in
the backward pass instead of being kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from .chat import IGNORE
from .errors import UserError

CHUNK = 1024  # tokens; enough to keep a GPU busy


def chunked_loss(
    model: Any, inputs: Mapping[str, Tensor], labels_BL: Tensor
) -> tuple[Tensor, Tensor]:
    """Sum of the cross-entropy over the targets (nats), and the likeliest tokens (B, L).

    Entry t of the likeliest tokens is the guess for t + 1, where that is a target; they are
    computed in evaluation only. The loss is that of the full logits, for a model whose output
    layer is the last thing it does.
    """
    head = model.get_output_embeddings()
    with _left_out(head):
        hidden_BLH = model(**inputs, use_cache=False).logits
    next_labels = F.pad(labels_BL[:, 1:], (0, 1), value=IGNORE).flatten()
    places = (next_labels != IGNORE).nonzero().squeeze(1)
    hidden_TH, targets_T = hidden_BLH.flatten(0, 1)[places], next_labels[places]
    loss = hidden_TH.float().sum() * 0  # a batch without a target takes part in the backward pass
    likeliest = []
    for hidden, targets in zip(hidden_TH.split(CHUNK), targets_T.split(CHUNK), strict=True):
        if torch.is_grad_enabled():
            loss = loss + checkpoint(_loss, head, hidden, targets, use_reentrant=False)
        else:
            logits = head(hidden)
            loss = loss + F.cross_entropy(logits.float(), targets, reduction="sum")
            likeliest.append(logits.argmax(dim=-1))
    guesses = torch.full_like(next_labels, IGNORE)
    if likeliest:
        guesses[places] = torch.cat(likeliest)
    return loss, guesses.view_as(labels_BL)


def _loss(head: Any, hidden_TH: Tensor, targets_T: Tensor) -> Tensor:
    return F.cross_entropy(head(hidden_TH).float(), targets_T, reduction="sum")


@torch.no_grad()
def check_head(model: Any, inputs: Mapping[str, Tensor]) -> None:
    """Raise UserError for a model that changes its logits after its output layer."""
    logits_BLV = model(**inputs, use_cache=False).logits
    head = model.get_output_embeddings()
    with _left_out(head):
        hidden_BLH = model(**inputs, use_cache=False).logits
    difference = (head(hidden_BLH).float() - logits_BLV.float()).abs().max()
    if difference > 1e-3 * logits_BLV.float().abs().max():
        raise UserError(
            "train.loss_head: this model changes its logits after its output layer, which a "
            "chunked loss would miss; set train.loss_head to full"
        )


@contextmanager
def _left_out(head: Any) -> Iterator[None]:
    """Let the model give what goes into its output layer in place of the logits."""
    head.forward = lambda hidden: hidden
    try:
        yield
    finally:
        del head.forward
