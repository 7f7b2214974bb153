"""Tokens as `--inspect` shows them: which count in the loss, and how much is padding."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Any

import numpy as np
from rich.console import Console
from rich.text import Text

from .config import Config
from .data import Batch, Dataset
from .steps import Feed
from .terminal import facts, heading, visible

STEPS = 20  # of training that are looked at
SHOWN_ROWS = 3
SHOWN_TOKENS = 250
REPEATS = 4  # equal tokens in a row, from which on they are counted


def show_batches(console: Console, data: Dataset, config: Config) -> None:
    """Shares of padding and of tokens with loss, in the first steps as training makes them."""
    steps = min(STEPS, max(1, len(data.train) // config.train.global_batch_size))
    places = tokens = targets = without = sequences = 0
    with Feed(data, config, steps, rank=0, size=1) as feed:
        for step in range(steps):
            work = feed.take(step, config.train.micro_batch_size)
            for chunk, batch in zip(work.chunks, work.batches, strict=True):
                places += batch["input_ids"].size
                tokens += min(batch["input_ids"].size, sum(data.train.length(i) for i in chunk))
                with_loss = _with_loss(batch)
                if with_loss is not None:
                    targets += int(with_loss.sum())
                    without += int((~with_loss.any(axis=1)).sum())
                sequences += len(chunk)
    heading(console, f"Micro-batches of the first {steps:,} steps")
    size = config.train.micro_batch_size
    facts(console, {"padding": f"{1 - tokens / places:.1%} of {places:,} places, {size} a batch"})
    if targets or without:
        facts(console, {"tokens with loss": f"{targets / tokens:.1%} of {tokens:,}"})
        facts(console, {"nothing to learn in": f"{without:,} of {sequences:,} sequences"})


def show_rows(console: Console, data: Dataset, tokenizer: Any) -> None:
    """Some training rows, as the model reads them."""
    split = data.train
    chosen = sorted({0, len(split) // 2, len(split) - 1})[:SHOWN_ROWS]
    marked = console.no_color or not console.is_terminal
    heading(console, "Rows as the model reads them")
    loss = _with_loss(data.batch(split, [chosen[0]])) is not None
    signs = ("«", "»") if loss and marked else ("", "")
    legend = Text("special tokens", style="magenta") + Text(", ")
    if loss:
        legend += Text(f"{signs[0]}with loss{signs[1]}", style="green") + Text(", ")
    console.print(legend + Text("without loss" if loss else "text", style="dim" if loss else ""))
    for index in chosen:
        batch = data.batch(split, [index])
        rows = ", ".join(map(str, split.rows([index])[:5]))
        console.print()
        of_class = "" if loss else f", class {data.labels[int(batch['labels'][0])]}"
        words = f"row {rows}{of_class}: {split.length(index):,} tokens"
        console.print(Text(visible(words), style="bold"))
        console.print(_coloured(batch, tokenizer, split.length(index), signs), soft_wrap=True)


def _with_loss(batch: Batch) -> np.ndarray | None:
    """Where the loss counts, shape (B, L); None where it is not a loss of tokens."""
    return batch["labels"] >= 0 if batch["labels"].ndim == 2 else None


def _coloured(batch: Batch, tokenizer: Any, length: int, signs: tuple[str, str]) -> Text:
    ids = batch["input_ids"][0][:length]
    with_loss = _with_loss(batch)
    trained = np.zeros(len(ids), bool) if with_loss is None else with_loss[0][:length]
    positions = batch.get("position_ids")
    starts = set() if positions is None else set(np.flatnonzero(positions[0][:length] == 0)[1:])
    special = set(tokenizer.all_special_ids) | set(getattr(tokenizer, "added_tokens_decoder", ()))
    text, inside = Text(), False
    for style, words, learnt in _runs(ids[:SHOWN_TOKENS], trained, special, starts, tokenizer):
        if style == "border":
            text.append("\n- next row of this sequence -\n", style="cyan")
            continue
        dim = " dim" if with_loss is not None and not learnt else ""
        colour = {"special": "magenta", "text": "green" if learnt else ""}[style]
        if learnt != inside:
            text.append(signs[0] if learnt else signs[1])
            inside = learnt
        text.append(words, style=(colour + dim).strip())
    text.append(signs[1] if inside else "")
    if len(ids) > SHOWN_TOKENS:
        text.append(f" … and {len(ids) - SHOWN_TOKENS:,} more tokens", style="cyan")
    return text


def _runs(
    ids: np.ndarray, trained: np.ndarray, special: set[int], starts: set[int], tokenizer: Any
) -> Iterator[tuple[str, str, bool]]:
    """(kind, text, whether learnt) of tokens that belong together."""
    kinds = [
        (bool(trained[i]), int(token) in special, sum(start <= i for start in starts))
        for i, token in enumerate(ids)
    ]
    last = 0
    for (learnt, is_special, document), group in groupby(range(len(ids)), key=kinds.__getitem__):
        if document != last:
            last = document
            yield "border", "", False
        tokens = [int(ids[i]) for i in group]
        if not is_special:
            yield "text", _decoded(tokenizer, tokens), learnt
            continue
        for token, equal in groupby(tokens):
            count, name = len(list(equal)), visible(str(tokenizer.convert_ids_to_tokens(token)))
            yield "special", name * count if count < REPEATS else f"{name}×{count:,}", learnt


def _decoded(tokenizer: Any, tokens: list[int]) -> str:
    text = tokenizer.decode(tokens, skip_special_tokens=False, clean_up_tokenization_spaces=False)
    return visible(str(text)).replace("\n", "↵\n")
