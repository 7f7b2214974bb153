"""Media files as `--inspect` shows them: all are decoded, or of many a sample."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
from rich.console import Console

from .media_files import Facts, Media, open_media, reason
from .rows import LISTED_ROWS
from .terminal import facts, heading, histogram, plain

MAX_DECODED = 10_000


def show_files(
    console: Console,
    files: Sequence[tuple[str, Media]],
    describe: Callable[[BinaryIO], Facts],
) -> list[str]:
    """Print what `describe` tells of `files`, (where, media).

    Returns a sentence for each that cannot be decoded.
    """
    chosen = files[:: -(-len(files) // MAX_DECODED) or 1]
    kinds: dict[str, Counter[str]] = defaultdict(Counter)
    sizes: dict[str, list[float]] = defaultdict(list)
    problems: list[str] = []
    empty: dict[str, list[str]] = defaultdict(list)
    for where, media in chosen:
        name = f"{where} {media}" if isinstance(media, Path) and str(media) != where else where
        try:
            with open_media(media) as file:
                found = describe(file)
        except (OSError, ValueError) as error:
            problems.append(f"{name} {reason(error)}")
            continue
        for kind, value in found.kinds.items():
            kinds[kind][value] += 1
        for size, number in found.sizes.items():
            sizes[size].append(number)
        if found.empty:
            empty[found.empty].append(name)
    sample = "" if len(chosen) == len(files) else f", a sample of {len(files):,}"
    heading(console, f"{len(chosen):,} files decoded{sample}")
    _list(console, "cannot be decoded", problems, "bold red")
    for what, names in empty.items():
        _list(console, what, names, "yellow")
    for kind, counts in kinds.items():
        facts(console, {kind: ", ".join(f"{k} {n:,}" for k, n in counts.most_common(8))})
    for size, numbers in sizes.items():
        histogram(console, size, np.asarray(numbers))
    return problems


def _list(console: Console, what: str, names: Sequence[str], style: str) -> None:
    if not names:
        return
    console.print(f"{len(names):,} {what}", style=style)
    for name in names[:LISTED_ROWS]:
        console.print(plain(f"  {name}"), soft_wrap=True)
    if len(names) > LISTED_ROWS:
        console.print(f"  and {len(names) - LISTED_ROWS:,} more")
