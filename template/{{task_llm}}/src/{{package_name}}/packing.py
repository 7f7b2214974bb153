"""Which rows share a sequence."""

from __future__ import annotations

from bisect import bisect_left, insort

import numpy as np


def pack(lengths: np.ndarray, capacity: int) -> np.ndarray:
    """Best-fit decreasing: the bin, of `capacity` tokens, for each row of `lengths` (N,).

    Deterministic.
    """
    bin_of = np.empty(len(lengths), dtype=np.int64)
    num_bins, shortest = 0, int(lengths.min())
    with_room: dict[int, list[int]] = {}  # free tokens -> bins that have just that many
    free_sizes: list[int] = []  # keys of with_room, sorted
    for row in np.argsort(-lengths, kind="stable"):
        length = int(lengths[row])
        at = bisect_left(free_sizes, length)
        if at == len(free_sizes):
            index, free = num_bins, capacity
            num_bins += 1
        else:
            free = free_sizes[at]
            index = with_room[free].pop()
            if not with_room[free]:
                del with_room[free], free_sizes[at]
        bin_of[row] = index
        left = free - length
        if left < shortest:
            continue  # nothing fits any more
        if left not in with_room:
            insort(free_sizes, left)
        with_room.setdefault(left, []).append(index)
    return bin_of
