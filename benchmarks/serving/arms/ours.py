"""The rendered project's service, unchanged; only the rows through its model are counted."""

from __future__ import annotations

import runpy
import sys
from typing import Any

import transformers
from model import MAX_BATCH, MODEL, PORT, count_rows

load = transformers.AutoModelForSequenceClassification.from_pretrained


def counted(*args: Any, **kwargs: Any) -> Any:
    """Load as ever, and count; the warm-up is counted too, and taken off by the harness."""
    loaded = load(*args, **kwargs)
    count_rows(loaded[0] if isinstance(loaded, tuple) else loaded)
    return loaded


transformers.AutoModelForSequenceClassification.from_pretrained = counted  # type: ignore[method-assign]
sys.argv = ["inference", "--model", MODEL, "--port", str(PORT)]
sys.argv += ["--engine.max_batch_size", str(MAX_BATCH), "--service.threads", "1"]
runpy.run_module("inference", run_name="__main__", alter_sys=True)
