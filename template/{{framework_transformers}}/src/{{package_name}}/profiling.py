"""A profiler's trace of a few training steps, and a table of what took longest."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Self

import torch
from torch.profiler import ProfilerActivity, profile, schedule

SKIPPED_STEPS = 5  # the first ones allocate, compile and fill caches
WARM_UP_STEPS = 1  # the profiler's own
ROWS = 40


class Profile:
    """Records `steps` training steps to trace.json.gz and operators.txt in `folder`.

    The trace opens in ui.perfetto.dev or chrome://tracing. With 0 steps it does nothing.
    """

    def __init__(self, steps: int, folder: Path, say: Callable[[str], None]) -> None:
        self.steps, self.folder, self.say = steps, folder, say
        self._profiler: profile | None = None
        self._written = False

    def __enter__(self) -> Self:
        if self.steps:
            activities = [ProfilerActivity.CPU]
            activities += [ProfilerActivity.CUDA] if torch.cuda.is_available() else []
            plan = schedule(wait=SKIPPED_STEPS, warmup=WARM_UP_STEPS, active=self.steps, repeat=1)
            self._profiler = profile(
                activities=activities, schedule=plan, on_trace_ready=self._write
            )
            self._profiler.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._profiler:
            self._profiler.stop()
            if not self._written:
                before = SKIPPED_STEPS + WARM_UP_STEPS
                self.say(f"train.profile_steps: nothing recorded, the run ended within {before}")

    def step(self) -> None:
        """Say that a training step is over."""
        if self._profiler:
            self._profiler.step()

    def _write(self, profiler: profile) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        profiler.export_chrome_trace(str(self.folder / "trace.json.gz"))
        order = "self_device_time_total" if torch.cuda.is_available() else "self_cpu_time_total"
        table = profiler.key_averages().table(sort_by=order, row_limit=ROWS)
        (self.folder / "operators.txt").write_text(table + "\n", encoding="utf-8")
        self._written = True
        self.say(f"profile: {self.folder}")
