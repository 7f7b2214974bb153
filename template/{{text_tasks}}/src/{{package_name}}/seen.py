"""What `--inspect` shows of the data of this task: lengths, what is cut, padding, tokens."""

from __future__ import annotations

from rich.console import Console

from .config import Config
from .data import Dataset
from .terminal import facts, histogram
from .token_view import show_batches, show_rows


def show(console: Console, data: Dataset, config: Config, tokenizer: object) -> list[str]:
    """Print it; there are no files that could not be decoded."""
    split = data.train
    lengths = split.store.lengths()
    histogram(console, "Tokens of the training rows, after cutting", lengths)
    dropped = getattr(split, "num_dropped", 0)  # of chats alone
    whole = split.store.num_rows + dropped
    limit = config.train.max_seq_len
    facts(console, {"cut": f"{split.num_cut / whole:.1%} ({split.num_cut:,} rows) at {limit:,}"})
    if dropped:
        words = f"{dropped:,} rows: their first answer ends beyond {limit:,} tokens"
        facts(console, {"left out": words}, style="yellow")
    show_batches(console, data, config)
    show_rows(console, data, tokenizer)
    return []
