"""A device that has no memory left: how to tell, and how to get some back."""

from __future__ import annotations

import gc
import sys

_SIGNS = ("out of memory", "can't allocate memory", "not enough memory", "failed to allocate")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether less work at a time might have done; PyTorch says it in several ways."""
    text = str(error).lower()
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(sign in text for sign in _SIGNS)
    )


def free_memory() -> None:
    """Give back what nobody uses; call it after the `except` block, which still uses it."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
