"""Answers written in batches: none depends on the others, nor on when they come and go."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
import torch

from inference import scheduling
from inference.batched import BatchedRunner
from inference.errors import ServiceError
from inference.generation import Asked, Piece
from inference.metrics import Metrics
from inference.project import UserError, load_predictor
from inference.scheduling import Row, may_join, next_batch
from inference.schema import EXAMPLE_INPUTS
from inference.settings import ServeSettings

ONE, OTHER = EXAMPLE_INPUTS[:2]


def never(steps: int) -> bool:
    return False


@pytest.fixture(scope="module")
def predictor(tiny_run: Path) -> Any:
    predictor = load_predictor(tiny_run, "cpu")
    predictor.stop_ids = []  # so that answers are as long as they may be
    return predictor


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def runner(predictor: Any, metrics: Metrics) -> Iterator[BatchedRunner]:
    settings = ServeSettings.model_validate({"engine": {"max_streams": 4, "max_waiting": 3}})
    runner = BatchedRunner(predictor, settings, metrics)
    yield runner
    runner.close()


@pytest.fixture
def slow(predictor: Any, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Make each token take 20 ms; returns the number of rows in each batch so far."""
    sizes: list[int] = []
    write = predictor.write

    def slowly(rows: Sequence[Any], pause: Callable[[int], bool] = never) -> Any:
        sizes.append(len(rows))

        def pause_slowly(steps: int) -> bool:
            time.sleep(0.02)
            return pause(steps)

        return write(rows, pause_slowly)

    monkeypatch.setattr(predictor, "write", slowly)
    return sizes


async def read(runner: BatchedRunner, asked: Asked, seconds: float = 60.0) -> list[Piece]:
    async with aclosing(runner.stream(asked, time.monotonic() + seconds)) as stream:
        return [piece async for piece in stream]


async def begin(runner: BatchedRunner, *asked: Asked) -> list[asyncio.Task[list[Piece]]]:
    """Ask all of it at once; returns when it is one batch."""
    with runner._writing._changed:  # the thread waits until all have come
        tasks = [asyncio.create_task(read(runner, each)) for each in asked]
        await until(lambda: len(runner._writing._rows) == len(asked))
    await until(lambda: len(runner._writing._batch) == len(asked))
    return tasks


async def until(is_true: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not is_true():
            await asyncio.sleep(0.005)


def text(pieces: Sequence[Piece]) -> str:
    return "".join(piece.text for piece in pieces)


def alone(predictor: Any, asked: Asked) -> str:
    options = {"temperature": asked.temperature, "top_p": asked.top_p, "seed": asked.seed}
    output = predictor.predict([asked.prompt], max_new_tokens=asked.max_new_tokens, **options)[0]
    return str(output["text"])


def test_each_answer_is_what_its_prompt_gets_alone(
    runner: BatchedRunner, predictor: Any, slow: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduling, "JOIN_STEPS", 3)
    asked = [
        Asked(ONE, max_new_tokens=24),
        Asked(OTHER, max_new_tokens=16),
        Asked(ONE, max_new_tokens=12, temperature=1.0, top_p=0.02, seed=1),
        Asked(OTHER, max_new_tokens=8, temperature=1.5, top_p=0.05, seed=1),
        Asked(ONE, max_new_tokens=12, temperature=1.0, top_p=0.02, seed=2),
    ]

    async def one_after_the_other() -> list[str]:
        tasks = []
        for each in asked:
            tasks.append(asyncio.create_task(read(runner, each)))
            await asyncio.sleep(0.1)  # the others are under way
        return [text(await task) for task in tasks]

    texts = asyncio.run(one_after_the_other())
    assert max(slow) > 1, "no answer joined another"
    slow.clear()
    assert texts == [alone(predictor, each) for each in asked]
    assert len(set(texts)) == len(texts)


def test_pieces_come_as_they_are_written(runner: BatchedRunner, slow: list[int]) -> None:
    async def times() -> tuple[float, float]:
        begun, first = time.monotonic(), 0.0
        async with aclosing(runner.stream(Asked(ONE, max_new_tokens=40), begun + 60)) as stream:
            async for piece in stream:  # noqa: B007
                first = first or time.monotonic() - begun
        assert (piece.finish_reason, piece.completion_tokens) == ("length", 40)
        return first, time.monotonic() - begun

    first, whole = asyncio.run(times())
    assert first < whole / 2
    assert len(slow) == 1


def test_a_stop_text_ends_the_answer(runner: BatchedRunner, predictor: Any) -> None:
    asked = Asked(ONE, max_new_tokens=30, temperature=1.0, seed=3)
    whole = alone(predictor, asked)
    stop = whole[len(whole) // 2 :][:2]
    pieces = asyncio.run(read(runner, Asked(ONE, 1, 30, 1.0, 1.0, 3, (stop,))))
    assert text(pieces) == whole[: whole.index(stop)]
    assert pieces[-1].finish_reason == "stop"
    assert predictor.predict([ONE], max_new_tokens=30, temperature=1.0, seed=3, stop=[stop])[0][
        "text"
    ] == text(pieces)


def test_who_leaves_is_written_for_no_more(
    runner: BatchedRunner, metrics: Metrics, slow: list[int]
) -> None:
    async def leave() -> None:
        written = await begin(runner, *[Asked(ONE, max_new_tokens=60)] * 4)
        late = asyncio.create_task(read(runner, Asked(OTHER, max_new_tokens=60)))
        await until(lambda: len(runner._writing._rows) == 1)
        for task in (late, *written):
            task.cancel()
        await asyncio.gather(late, *written, return_exceptions=True)
        await read(runner, Asked(ONE, max_new_tokens=1))

    asyncio.run(leave())
    assert slow == [4, 1]
    tokens = metrics.of(runner.info).completion_tokens._value.get()
    assert tokens < 4 * 60 / 2
    assert metrics.dropped.labels("cancelled")._value.get() == 1


def test_time_is_up_during_and_before_the_work(
    runner: BatchedRunner, metrics: Metrics, slow: list[int]
) -> None:
    async def hurry() -> list[Any]:
        long = [Asked(ONE, max_new_tokens=200)] * 4  # 4 seconds
        with runner._writing._changed:
            tasks = [asyncio.create_task(read(runner, each, 2)) for each in long]
            await until(lambda: len(runner._writing._rows) == 4)
        late = asyncio.create_task(read(runner, Asked(OTHER, max_new_tokens=200), 0.4))
        return await asyncio.gather(*tasks, late, return_exceptions=True)

    errors = asyncio.run(hurry())
    assert {(error.status_code, error.code) for error in errors} == {(503, "deadline_exceeded")}
    assert slow == [4]
    assert metrics.of(runner.info).completion_tokens._value.get() < 4 * 200


def test_more_than_may_wait_are_told_to_come_back(runner: BatchedRunner, slow: list[int]) -> None:
    async def crowd() -> list[Any]:
        many = [read(runner, Asked(ONE, max_new_tokens=10)) for _ in range(12)]
        return await asyncio.gather(*many, return_exceptions=True)

    results = asyncio.run(crowd())
    refused = [each for each in results if isinstance(each, ServiceError)]
    assert 0 < len(refused) < 12
    for error in refused:
        assert (error.status_code, error.code) == (429, "overloaded")
        assert int((error.headers or {})["Retry-After"]) >= 1


def test_a_batch_too_large_for_memory_is_split_once(
    runner: BatchedRunner, predictor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, largest, sizes = predictor.write, 2, list[int]()

    def write_few(rows: Sequence[Any], pause: Callable[[int], bool] = never) -> Any:
        sizes.append(len(rows))
        if len(rows) > largest:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return write(rows, pause)

    monkeypatch.setattr(predictor, "write", write_few)
    asked = Asked(ONE, max_new_tokens=4)

    async def together(count: int) -> list[Any]:
        with runner._writing._changed:
            tasks = [asyncio.create_task(read(runner, asked)) for _ in range(count)]
            await until(lambda: len(runner._writing._rows) == count)
        return await asyncio.gather(*tasks, return_exceptions=True)

    assert {text(pieces) for pieces in asyncio.run(together(4))} == {alone(predictor, asked)}
    assert max(sizes) > 2 and runner.stalled() is None

    largest = 0
    for stalled in (False, True):
        for error in asyncio.run(together(2)):  # one batch is one failure
            assert (error.status_code, error.code) == (503, "out_of_memory")
        assert (runner.stalled() is not None) == stalled
    largest = 4

    async def recover() -> str:
        pieces = (await together(1))[0]
        await until(lambda: runner.stalled() is None)  # the batch ends after its last token
        return text(pieces)

    assert asyncio.run(recover()) == alone(predictor, asked)


def test_memory_that_fails_in_the_middle_costs_no_answer(
    runner: BatchedRunner, predictor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, sizes = predictor.write, list[int]()

    def write_on(rows: Sequence[Any], pause: Callable[[int], bool] = never) -> Any:
        sizes.append(len(rows))

        def fail_once(steps: int) -> bool:
            ends = pause(steps)
            if len(sizes) == 1 and steps == 4:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return ends

        return write(rows, fail_once)

    asked = [Asked(ONE, max_new_tokens=length) for length in (2, 6, 8)]  # one has ended by then
    expected = [alone(predictor, each) for each in asked]
    monkeypatch.setattr(predictor, "write", write_on)

    async def together() -> list[str]:
        with runner._writing._changed:
            tasks = [asyncio.create_task(read(runner, each)) for each in asked]
            await until(lambda: len(runner._writing._rows) == len(asked))
        return [text(await task) for task in tasks]

    assert asyncio.run(together()) == expected
    assert sizes == [3, 1, 1]


def test_an_error_of_the_model_reaches_who_asked_and_nobody_else(
    runner: BatchedRunner, predictor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = Asked(ONE, max_new_tokens=4)
    expected = alone(predictor, asked)
    with monkeypatch.context() as patch:
        patch.setattr(predictor.model, "generate", lambda **_: 1 // 0)
        with pytest.raises(ZeroDivisionError):
            asyncio.run(read(runner, asked))
    assert text(asyncio.run(read(runner, asked))) == expected
    assert runner.stalled() is None


def test_a_thread_that_hangs_is_told_of(
    predictor: Any, metrics: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = threading.Event()
    monkeypatch.setattr(predictor, "write", lambda *_: [done.wait(20)][1:])
    runner = BatchedRunner(
        predictor, ServeSettings.model_validate({"limits": {"deadline_seconds": 0.05}}), metrics
    )

    async def ask() -> None:
        with pytest.raises(ServiceError):
            await read(runner, Asked(ONE, max_new_tokens=4), 0.05)
        assert runner.stalled() is None  # it may only be slow
        await until(lambda: runner.stalled() is not None)
        done.set()
        await until(lambda: runner.stalled() is None)

    asyncio.run(ask())
    runner.close()


def test_bad_prompts_are_refused(runner: BatchedRunner) -> None:
    with pytest.raises(UserError, match="input 7"):
        asyncio.run(read(runner, Asked(" ", 7)))
    with pytest.raises(UserError, match="tokens"):
        asyncio.run(read(runner, Asked(ONE, max_new_tokens=100_000)))


def test_closing_finishes_what_is_being_written(
    runner: BatchedRunner, predictor: Any, slow: list[int]
) -> None:
    asked = Asked(ONE, max_new_tokens=30)

    async def close() -> list[Any]:
        tasks = await begin(runner, *[asked] * 4)
        tasks.append(asyncio.create_task(read(runner, asked)))
        await until(lambda: len(runner._writing._rows) == 1)
        runner.close()
        tasks.append(asyncio.create_task(read(runner, asked)))
        return await asyncio.gather(*tasks, return_exceptions=True)

    *written, waiting, late = asyncio.run(close())
    slow.clear()
    assert {text(pieces) for pieces in written} == {alone(predictor, asked)}
    assert waiting.code == "draining"
    assert isinstance(late, ServiceError) and late.code == "draining"


def row(name: str, length: int, *, begun: bool = False, shapes: int = 1, written: int = 0) -> Row:
    row = Row(name, length, shapes, 100, 0.0, 1.0, 0, time.monotonic() + 60, lambda *_: None)
    row.begun, row.ids = (0.0 if begun else None), [7] * written
    return row


def chosen(size: int, *rows: Row) -> list[str]:
    return [row.prompt for row in next_batch(rows, size)]


def test_who_waits_longest_joins_first_and_places_left_go_by_length() -> None:
    running = [row("a", 10, begun=True), row("b", 11, begun=True)]
    waiting = [row("old", 900), *(row(str(length), length) for length in (10, 20, 800))]
    assert chosen(3, *running, *waiting) == ["a", "b", "old"]
    assert chosen(4, *running, *waiting) == ["a", "b", "old", "800"]
    assert chosen(2, *waiting) == ["old", "800"]
    assert chosen(9, *running) == ["a", "b"]


def test_prompts_of_another_shape_are_not_overtaken_for_ever() -> None:
    running = [row("a", 10, begun=True)]
    waiting = [row("other", 10, shapes=2), *(row(str(i), 10) for i in range(5))]
    assert not may_join(running, waiting, size=4, steps=99)
    assert chosen(4, *running, *waiting) == ["a"]
    assert chosen(4, *waiting) == ["other"]


def test_a_batch_leaves_off_where_it_is_worth_it() -> None:
    running, waiting = [row(str(i), 10, begun=True) for i in range(3)], [row("new", 10)]
    assert not may_join(running, [], 4, steps=99)
    assert not may_join(running, waiting, 3, steps=99), "there is no place"
    assert not may_join(running, waiting, 4, steps=3)
    assert may_join(running, waiting, 4, steps=scheduling.JOIN_STEPS)
    assert may_join(running, waiting * 3, 4, steps=1), "it doubles the batch"
    running[0].cancelled = running[1].cancelled = True
    assert may_join(running, waiting, 3, steps=1), "their places are free"
