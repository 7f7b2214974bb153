"""Run a training script and note when each of its optimizer steps was over.

python benchmarks/step_times.py TIMES.json SCRIPT [its arguments]

TIMES.json: for each step the seconds since the start, and the processor time of all threads.
"""

from __future__ import annotations

import importlib
import json
import runpy
import sys
import time
from pathlib import Path
from typing import Any

BEGAN = time.perf_counter()


def main() -> None:
    """Run the script as if it had been called itself."""
    optimizer: Any = importlib.import_module("torch.optim.optimizer")
    target, script = Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve()
    times: list[tuple[float, float]] = []
    optimizer.register_optimizer_step_post_hook(
        lambda *_: times.append((time.perf_counter() - BEGAN, time.process_time()))
    )
    sys.argv = [str(script), *sys.argv[3:]]
    sys.path[0] = str(script.parent)
    try:
        runpy.run_path(str(script), run_name="__main__")
    finally:
        target.write_text(json.dumps(times), encoding="utf-8")


if __name__ == "__main__":
    main()
