"""What `--inspect` shows of the data of this task: images, lengths, padding, tokens."""

from __future__ import annotations

from typing import Any

from rich.console import Console

from .config import Config
from .data import Dataset
from .images import describe
from .media_view import show_files
from .terminal import facts, histogram
from .token_view import show_batches, show_rows


def show(console: Console, data: Dataset, config: Config, processor: Any) -> list[str]:
    """Print it; what is wrong with the images that cannot be decoded."""
    split = data.train
    examples = [*split.examples, *data.eval.examples]
    images = [(example.where, image) for example in examples for image in example.images]
    unreadable = show_files(console, images, describe)
    lengths = split.lengths()
    histogram(console, "Tokens of the training rows, those of images included", lengths)
    rows, limit = len(split) + split.num_dropped, config.train.max_seq_len
    for name, count in (("cut", split.num_cut), ("left out as too long", split.num_dropped)):
        facts(console, {name: f"{count / rows:.1%} ({count:,} rows) at {limit:,} tokens"})
    if not unreadable:
        show_batches(console, data, config)
        show_rows(console, data, processor.tokenizer)
    return unreadable
