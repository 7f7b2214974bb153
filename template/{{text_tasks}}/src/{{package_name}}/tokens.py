"""Tokenised rows in flat arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from .errors import DataError


@dataclass
class TokenStore:
    """Sequences end to end: 4 bytes a token and 1 for its mask, however many rows.

    `tokens` (T,) uint32; `trained` (T,) bool, the tokens that count in the loss;
    `offsets` (N + 1,) int64, where each sequence starts; `rows` (N,) int64, its line in the file.
    """

    tokens: np.ndarray
    trained: np.ndarray
    offsets: np.ndarray
    rows: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    def lengths(self) -> np.ndarray:
        """Tokens of each sequence, shape (N,)."""
        return np.diff(self.offsets)

    def sequence(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Token ids and loss mask of one sequence."""
        span = slice(self.offsets[index], self.offsets[index + 1])
        return self.tokens[span], self.trained[span]


@dataclass
class TokenStoreBuilder:
    """Collects sequences; `build` makes the arrays."""

    _tokens: list[np.ndarray] = field(default_factory=list)
    _trained: list[np.ndarray] = field(default_factory=list)
    _rows: list[int] = field(default_factory=list)

    def add(self, tokens: Sequence[int], trained: Sequence[bool] | bool, row: int) -> None:
        """Append one sequence; a single `trained` holds for all its tokens."""
        self._tokens.append(np.asarray(tokens, dtype=np.uint32))
        self._trained.append(np.broadcast_to(np.asarray(trained, dtype=bool), (len(tokens),)))
        self._rows.append(row)

    def build(self) -> TokenStore:
        """Join what was added. Raises DataError when nothing was."""
        if not self._rows:
            raise DataError("no row is left to train on; the counts above say why")
        lengths = [len(tokens) for tokens in self._tokens]
        return TokenStore(
            tokens=np.concatenate(self._tokens),
            trained=np.concatenate(self._trained),
            offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
            rows=np.asarray(self._rows, dtype=np.int64),
        )


def pad(sequences: Sequence[np.ndarray], value: int) -> np.ndarray:
    """Right-pad to the longest, shape (B, L), int64."""
    width = max(len(sequence) for sequence in sequences)
    padded = np.full((len(sequences), width), value, dtype=np.int64)
    for row, sequence in zip(padded, sequences, strict=True):
        row[: len(sequence)] = sequence
    return padded
