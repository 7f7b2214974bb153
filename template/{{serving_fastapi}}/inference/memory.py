"""A device that has no memory left: how to tell, and how to get some back."""

from __future__ import annotations

import gc
import sys

_SIGNS = ("out of memory", "can't allocate memory", "not enough memory", "failed to allocate")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether less work at a time might have done; frameworks say it in several ways."""
    if isinstance(error, MemoryError):
        return True
    # ONNX Runtime's exceptions are none of Python's RuntimeError
    is_theirs = isinstance(error, RuntimeError) or type(error).__module__.startswith("onnxruntime")
    text = str(error).lower()
    return is_theirs and any(sign in text for sign in _SIGNS)


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
