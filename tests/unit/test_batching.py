"""Which inputs share a batch, and how long those behind must wait."""

from __future__ import annotations

import asyncio
import importlib.util
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from serving import TEMPLATE

pytestmark = pytest.mark.unit


def _load(path: Path) -> ModuleType:
    # a name of its own: benchmarks have a module `memory` too
    spec = importlib.util.spec_from_file_location(f"inference_{path.stem}", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


batching = _load(TEMPLATE / "{{serving_fastapi}}/{{classification_tasks}}/inference/batching.py")
memory = _load(TEMPLATE / "{{serving_fastapi}}/inference/memory.py")


def call(count: int = 1, seconds: float = 60.0) -> Any:
    future = asyncio.new_event_loop().create_future()
    return batching.Call(future, count, time.monotonic() + seconds)


def items(lengths: Sequence[int]) -> list[Any]:
    return [batching.Item(f"{i}", n, call(), 0, 0.0) for i, n in enumerate(lengths)]


def lengths(batch: Sequence[Any]) -> list[int]:
    return [item.length for item in batch]


def test_batch_is_the_oldest_and_its_nearest_in_length() -> None:
    batch = batching.choose(items([50, 400, 48, 10, 52, 390]), 3, 0.5)
    assert lengths(batch) == [50, 48, 52]


def test_equal_lengths_go_in_the_order_of_arrival() -> None:
    batch = batching.choose(items([7] * 10), 4, 0.5)
    assert [item.read for item in batch] == ["0", "1", "2", "3"]


def test_padding_is_bounded() -> None:
    assert lengths(batching.choose(items([10, 400]), 8, 0.25)) == [10]
    assert lengths(batching.choose(items([10, 400]), 8, 1.0)) == [10, 400]
    batch = batching.choose(items([100, 95, 60, 5, 3, 90]), 8, 0.2)
    padded = max(lengths(batch)) * len(batch)
    assert 1 - sum(lengths(batch)) / padded <= 0.2 and len(batch) >= 4


def test_none_waits_for_ever_behind_newer_ones_of_a_popular_length() -> None:
    queue = batching.Queue(4, 0.5)
    queue.put(items([30] * 4 + [900]))
    taken: list[int] = []
    for _ in range(3):
        queue.put(items([30] * 4))
        taken += lengths(queue.take())
    assert 900 in taken


def test_discarded_request_is_not_given_out() -> None:
    queue = batching.Queue(4, 0.5)
    one, other = call(2), call()
    queue.put([batching.Item("a", 1, one, i, 0.0) for i in range(2)])
    queue.put([batching.Item("b", 1, other, 0, 0.0)])
    assert queue.discard(one) == 2 and queue.discard(one) == 0
    assert [item.read for item in queue.take()] == ["b"]


def test_what_is_late_is_not_given_out() -> None:
    queue = batching.Queue(4, 0.5)
    late, early = call(seconds=-1), call()
    queue.put([batching.Item("late", 1, late, 0, 0.0), batching.Item("early", 1, early, 0, 0.0)])
    assert [item.read for item in queue.take()] == ["early"]


def test_taking_waits_until_there_is_something_or_the_end() -> None:
    queue = batching.Queue(4, 0.5)
    taken: list[Any] = []
    thread = threading.Thread(target=lambda: taken.extend([queue.take(), queue.take()]))
    thread.start()
    queue.put(items([1]))
    while not taken and len(queue):
        time.sleep(0.01)
    time.sleep(0.05)
    queue.close()
    thread.join(timeout=10)
    assert len(taken[0]) == 1 and taken[1] is None


def test_call_is_answered_in_the_order_of_its_inputs() -> None:
    one = call(2)
    one.settle(1, "second")
    assert not one.future.done()
    one.settle(0, "first")
    assert one.future.result() == ["first", "second"]
    failed = call(2)
    failed.settle(0, ValueError("no"))
    failed.settle(1, "too late")
    assert isinstance(failed.future.exception(), ValueError)


def test_pace_follows_full_batches_and_forgives_small_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = [0.0]
    monkeypatch.setattr(batching, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    pace = batching.Pace(0.001)

    def compute(size: int, is_full: bool) -> None:
        for _ in range(30):
            pace.begin()
            clock[0] += 0.01
            pace.end(size, is_full)

    assert pace.seconds_for(100) == pytest.approx(0.1)
    compute(1, is_full=False)  # dear, because alone
    assert pace.seconds_for(100) == pytest.approx(0.1)
    compute(2, is_full=True)
    assert pace.seconds_for(100) == pytest.approx(0.5, rel=0.01)


def test_what_frameworks_say_of_too_little_memory_is_understood() -> None:
    module = {"__module__": "onnxruntime.capi.onnxruntime_pybind11_state"}
    of_onnxruntime = type("RuntimeException", (Exception,), module)
    said = "Failed to allocate memory for requested buffer of size 1024"
    for error in (MemoryError(), RuntimeError("CUDA out of memory"), of_onnxruntime(said)):
        assert memory.is_out_of_memory(error)
    for error in (ValueError(said), RuntimeError("shapes differ"), of_onnxruntime("shapes differ")):
        assert not memory.is_out_of_memory(error)
