"""Tokenised rows: what was made of them, and views of the parts that are learnt."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from .errors import DataError


@dataclass
class Encoded:
    """A few rows, tokenised."""

    tokens: list[np.ndarray]
    """Token ids of each row."""
    trained: list[np.ndarray] = field(default_factory=list)
    """Which of them count in the loss; empty where all do."""
    columns: dict[str, np.ndarray] = field(default_factory=dict)
    """What else is known of the rows: name -> int32 of shape (N,)."""
    classes: Sequence[str] = ()
    """The class of each row, where rows have one."""


@dataclass
class TokenRows:
    """All rows of a file or folder, in its order. Tokens stay on the disk until they are used."""

    shard: Callable[[int], Mapping[str, np.ndarray]]
    """Views of a shard's file: `tokens`, uint16 or uint32, and the loss mask `trained`, bool,
    which is missing where every token counts.
    """
    shard_starts: np.ndarray
    """The first row of each shard, (shards,) int64."""
    starts: np.ndarray
    """Where each row starts in its shard, (N,) int64."""
    lengths: np.ndarray
    """Tokens of each row, (N,) int64."""
    rows: np.ndarray
    """Its line in the file, (N,) int64."""
    keys: np.ndarray
    """64 bits that stand for its content, (N,) uint64."""
    columns: dict[str, np.ndarray]
    """What else the task knows of each row, (N,) int32; `class` numbers `classes`."""
    classes: list[str]
    """Names of the classes, sorted."""

    def __len__(self) -> int:
        return len(self.rows)

    def part(self, row: int, start: int, end: int) -> tuple[np.ndarray, np.ndarray]:
        """Token ids and loss mask of a part of one row."""
        shard = self.shard(int(np.searchsorted(self.shard_starts, row, side="right")) - 1)
        span = slice(self.starts[row] + start, self.starts[row] + end)
        tokens = shard["tokens"][span]
        return tokens, shard["trained"][span] if "trained" in shard else np.ones(len(tokens), bool)


@dataclass
class TokenStore:
    """What is learnt of the rows: part i is `starts[i]` to `ends[i]` of row `index[i]`.

    All three are int64 of shape (N,).
    """

    source: TokenRows
    index: np.ndarray
    starts: np.ndarray
    ends: np.ndarray
    train_on_all: bool = False
    """Every token counts in the loss, whatever the masks say."""

    def __post_init__(self) -> None:
        if not len(self.index):
            raise DataError("no row is left to train on; the counts above say why")

    def __len__(self) -> int:
        return len(self.index)

    @cached_property
    def num_rows(self) -> int:
        """Rows of the file: a long text has several parts."""
        return len(np.unique(self.index))

    @property
    def rows(self) -> np.ndarray:
        """The line of each part in its file, shape (N,)."""
        return self.source.rows[self.index]

    def lengths(self) -> np.ndarray:
        """Tokens of each part, shape (N,)."""
        return self.ends - self.starts

    def sequence(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Token ids and loss mask of one part."""
        row, start, end = int(self.index[index]), self.starts[index], self.ends[index]
        tokens, trained = self.source.part(row, start, end)
        return tokens, np.ones_like(trained) if self.train_on_all else trained


def pad(sequences: Sequence[np.ndarray], value: int) -> np.ndarray:
    """Right-pad to the longest, shape (B, L), int64."""
    width = max(len(sequence) for sequence in sequences)
    padded = np.full((len(sequences), width), value, dtype=np.int64)
    for row, sequence in zip(padded, sequences, strict=True):
        row[: len(sequence)] = sequence
    return padded
