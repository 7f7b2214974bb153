"""A device that has no memory left: how to tell, and how to get some back."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")

_SIGNS = ("out of memory", "can't allocate memory", "not enough memory", "failed to allocate")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether less work at a time might have done; frameworks say it in several ways."""
    if isinstance(error, MemoryError):
        return True
    # ONNX Runtime's exceptions are none of Python's RuntimeError
    is_theirs = isinstance(error, RuntimeError) or type(error).__module__.startswith("onnxruntime")
    text = str(error).lower()
    return is_theirs and any(sign in text for sign in _SIGNS)


def attempt(work: Callable[[], T]) -> T | None:
    """What `work` returns; None where the memory did not suffice, of which some is then free."""
    try:
        return work()
    except Exception as error:
        if not is_out_of_memory(error):
            raise
    free_memory()  # here the failed attempt's frames are gone, and its tensors with them
    return None


def halves(items: Sequence[T]) -> list[Sequence[T]]:
    """What to attempt next, where all together did not fit; no half is empty."""
    middle = (len(items) + 1) // 2
    return [half for half in (items[:middle], items[middle:]) if half]


def free_memory() -> None:
    """Give back what nobody uses; call it after the `except` block, which still uses it."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()


def settle() -> None:
    """Let the garbage collector pass over what will stay: a framework and its model.

    It would look through their objects again and again, for a quarter of a second each time, in
    which nothing is answered.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()
