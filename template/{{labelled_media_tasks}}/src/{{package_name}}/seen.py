"""What `--inspect` shows of the data of this task: its files, all decoded."""

from __future__ import annotations

from typing import Any

from rich.console import Console

from . import media
from .config import Config
from .data import Dataset
from .media_view import show_files


def show(console: Console, data: Dataset, config: Config, processor: Any) -> list[str]:
    """Print it; what is wrong with the files that cannot be decoded."""
    examples = [*data.train.examples, *data.eval.examples]
    return show_files(console, [(each.where, each.media) for each in examples], media.describe)
