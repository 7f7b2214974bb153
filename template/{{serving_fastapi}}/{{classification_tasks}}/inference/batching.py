"""What waits for the model: in the order of arrival, given out in batches of like length."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

WINDOW = 4  # batches: only the oldest of what waits compete for a batch


class Call:
    """One request: its future, and the outputs that it has so far."""

    def __init__(self, future: asyncio.Future[list[Any]], count: int, deadline: float) -> None:
        self.future = future
        self.deadline = deadline
        self.begun = 0.0
        """When its first input was taken up, as time.monotonic()."""
        self._outputs: list[Any] = [None] * count
        self._left = count

    def settle(self, index: int, outcome: Any) -> None:
        """Note one output, or the exception in its place; the last one answers the request."""
        if self.future.done():
            return
        if isinstance(outcome, Exception):
            self.future.set_exception(outcome)
            return
        self._outputs[index] = outcome
        self._left -= 1
        if not self._left:
            self.future.set_result(self._outputs)


@dataclass(frozen=True, slots=True, eq=False)
class Item:
    """One input of a request."""

    read: Any
    length: int
    call: Call
    index: int
    since: float
    """When it began to wait, as time.monotonic()."""


class Queue:
    """Filled by the event loop, emptied by the model's thread."""

    def __init__(self, batch_size: int, max_padding: float) -> None:
        self._batch_size = batch_size
        self._max_padding = max_padding
        self._items: list[Item] = []
        self._changed = threading.Condition()
        self._closed = False

    def __len__(self) -> int:
        return len(self._items)

    def put(self, items: Sequence[Item]) -> None:
        """Add at the end."""
        with self._changed:
            self._items += items
            self._changed.notify()

    def discard(self, call: Call) -> int:
        """Remove what waits of a request; returns how many inputs that was."""
        with self._changed:
            before = len(self._items)
            self._items = [item for item in self._items if item.call is not call]
            return before - len(self._items)

    def take(self) -> list[Item] | None:
        """The next batch; waits until there is one. None after `close`.

        What is past its deadline stays: the event loop is about to discard it.
        """
        with self._changed:
            while not self._closed:
                now = time.monotonic()
                ready = [item for item in self._items if item.call.deadline > now]
                if ready:
                    batch = choose(ready, self._batch_size, self._max_padding)
                    taken = set(batch)
                    self._items = [item for item in self._items if item not in taken]
                    return batch
                self._changed.wait()
        return None

    def close(self) -> list[Item]:
        """Give out nothing more; returns what waited."""
        with self._changed:
            self._closed = True
            left, self._items = self._items, []
            self._changed.notify_all()
            return left


def choose(waiting: Sequence[Item], size: int, max_padding: float) -> list[Item]:
    """The oldest, and of those behind it the nearest in length, so that none waits for ever.

    At most `size`, and no more than `max_padding` of the batch is padding.
    """
    oldest = waiting[0]
    near = sorted(waiting[: WINDOW * size], key=lambda item: abs(item.length - oldest.length))
    batch = [oldest]
    longest = total = oldest.length
    for item in near:
        if len(batch) == size:
            break
        new_longest, new_total = max(longest, item.length), total + item.length
        padded = new_longest * (len(batch) + 1)
        if item is oldest or padded - new_total > max_padding * padded:
            continue
        batch.append(item)
        longest, total = new_longest, new_total
    return batch


class Pace:
    """How long what waits will take, from how long batches took."""

    WEIGHT = 0.2  # of the newest batch

    def __init__(self, seconds_per_item: float) -> None:
        self._per_item = seconds_per_item
        self._batch_seconds = 0.0
        self._begun: float | None = None

    def begin(self) -> None:
        """A batch is about to be computed."""
        self._begun = time.monotonic()

    def end(self, size: int, is_full: bool) -> None:
        """It is done. A small batch costs more for each input, and tells only of cheaper ones."""
        seconds = time.monotonic() - (self._begun or 0.0)
        self._begun = None
        self._batch_seconds += self.WEIGHT * (seconds - self._batch_seconds)
        per_item = seconds / size
        if is_full or per_item < self._per_item:
            self._per_item += self.WEIGHT * (per_item - self._per_item)

    def elapsed(self) -> float:
        """Since when a batch is at work, in seconds; 0 where none is."""
        begun = self._begun
        return 0.0 if begun is None else time.monotonic() - begun

    def seconds_for(self, count: int) -> float:
        """Until `count` inputs, and the batch at work now, are done."""
        begun = self._begun
        elapsed = time.monotonic() - begun if begun is not None else self._batch_seconds
        return max(0.0, self._batch_seconds - elapsed) + count * self._per_item
