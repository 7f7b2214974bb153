"""Which answers are written together, and when others may join them: who waits longest is next."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

from .generation import Mailbox

JOIN_STEPS = 32


@dataclass(eq=False)
class Row:
    """An answer, as the predictor's `write` takes it."""

    prompt: Any
    prompt_tokens: int
    shapes: Hashable
    """What is equal for prompts that can share a batch."""
    max_new_tokens: int
    temperature: float
    top_p: float
    seed: int
    deadline: float
    hand_over: Callable[[Row, int, bool], None]
    mailbox: Mailbox = field(default_factory=Mailbox)
    ids: list[int] = field(default_factory=list)
    answered: bool = False
    """Whether its first token was sent off."""
    ended: float | None = None
    """When its last token came."""
    cancelled: bool = False
    begun: float | None = None
    """When it was first taken up, as time.monotonic()."""
    asked_at: float = field(default_factory=time.monotonic)

    def take(self, token: int, last: bool) -> bool:
        """Take the next token; False where nobody wants more."""
        self.ids.append(token)
        self.ended = time.monotonic() if last else None
        self.hand_over(self, token, last)
        return not self.is_given_up()

    def is_given_up(self) -> bool:
        """Whether the client has left or waited too long."""
        return self.cancelled or time.monotonic() > self.deadline

    def wants_more(self) -> bool:
        """Whether there are tokens to write for it."""
        return self.ended is None and not self.is_given_up()

    def length(self) -> int:
        """Tokens of the prompt and of the answer so far."""
        return self.prompt_tokens + len(self.ids)


def next_batch(rows: Sequence[Row], size: int) -> list[Row]:
    """Choose from those begun and, behind them, those that wait in the order in which they came.

    Answers that were begun go on, and the one that waits longest joins them: it is passed by none.
    What places are left go to those that need the least padding beside it.
    """
    going_on = [row for row in rows if row.begun is not None]
    waiting = [row for row in rows if row.begun is None]
    batch = going_on[:size]
    if not waiting or (batch and waiting[0].shapes != batch[0].shapes):
        return batch  # what cannot join is next when these have ended
    oldest = waiting[0]
    fitting = [row for row in waiting if row.shapes == oldest.shapes][: 2 * size]
    fitting.sort(key=lambda row: abs(row.length() - oldest.length()))  # it stays the first
    return [*batch, *fitting][:size]


def may_join(batch: Sequence[Row], waiting: Sequence[Row], size: int, steps: int) -> bool:
    """Whether the batch, after so many steps, leaves off to go on with some that wait."""
    running = sum(row.wants_more() for row in batch)  # the others leave their places
    if running >= size or not waiting or waiting[0].shapes != batch[0].shapes:
        return False
    joining = sum(row.shapes == batch[0].shapes for row in waiting)
    return joining >= running or steps >= JOIN_STEPS
