"""Which rows are held out: a hash of the content decides, never the order or the time.

A row is known by 64 bits of its content's SHA-256. Among a million rows two different ones share
them with a chance of 3 in 100 million; they would then be taken for repeats.
"""

from __future__ import annotations

import hashlib

import numpy as np


def content_key(content: str) -> int:
    """64 bits that stand for the content."""
    return int.from_bytes(hashlib.sha256(content.encode()).digest()[:8])


def held_out(keys: np.ndarray, fraction: float) -> np.ndarray:
    """Which rows are held out, by their keys (N,) uint64; bool of shape (N,).

    Equal keys are on the same side, and a row keeps its side when others are added. With two or
    more distinct keys neither side is empty: among few rows one may stand in until others come.
    """
    threshold = int(fraction * 2**64)
    lowest, highest = (int(keys.min()), int(keys.max())) if len(keys) else (0, 0)
    threshold = min(max(threshold, lowest + 1), highest) if lowest < highest else 0
    return keys < np.uint64(threshold)


def held_out_by_class(keys: np.ndarray, classes: np.ndarray, fraction: float) -> np.ndarray:
    """The same class by class; `classes` (N,) are numbers.

    Content that stands in two classes counts for the first of them, so that it is on one side.
    """
    held = np.zeros(len(keys), dtype=bool)
    _, first, which = np.unique(keys, return_index=True, return_inverse=True)
    of_content = classes[first][which]
    order = np.argsort(of_content, kind="stable")
    starts = np.flatnonzero(np.diff(of_content[order], prepend=-1))
    for rows in np.split(order, starts[1:]):
        held[rows] = held_out(keys[rows], fraction)
    return held
