"""Answers that join and leave a running batch: right, bounded, and alive after a failure."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers.generation.continuous_batching.continuous_api import ContinuousBatchingManager

from inference.batched import BatchedRunner
from inference.continuous import ContinuousBatching, UnsupportedModelError
from inference.errors import ServiceError
from inference.generation import Asked, whole_answer
from inference.metrics import Metrics
from inference.project import UserError, load_predictor
from inference.runner import LanguageRunner, load_runner
from inference.schema import EXAMPLE_INPUTS
from inference.settings import ServeSettings

Start = Callable[..., LanguageRunner]


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def start(tiny_run: Path, metrics: Metrics) -> Iterator[Start]:
    """Start a runner with some options, whose answers end by their length only."""
    runners = []

    def begin(**options: Any) -> LanguageRunner:
        settings = ServeSettings.model_validate({"engine": options, "service": {"device": "cpu"}})
        runner = load_runner(tiny_run, settings, metrics)
        assert isinstance(runner, LanguageRunner)
        runner._predictor.stop_ids = []
        runners.append(runner)
        return runner

    yield begin
    for runner in runners:
        runner.close()


def slow_down(runner: LanguageRunner) -> None:
    """Let each token take 40 ms, so that a long answer is not done before its time is over."""
    head = runner._predictor.model.get_output_embeddings()  # adapters or not, all pass it
    head.register_forward_pre_hook(lambda *_: time.sleep(0.04))


def soon(seconds: float = 60.0) -> float:
    return time.monotonic() + seconds


async def text(runner: LanguageRunner, asked: Asked) -> str:
    return str((await whole_answer(runner, asked, soon()))["text"])


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.01)


def test_answers_are_the_predictors(start: Start, tiny_run: Path) -> None:
    runner, predictor = start(), load_predictor(tiny_run, "cpu")
    predictor.stop_ids = []
    for options in (
        {"max_new_tokens": 30},
        {"max_new_tokens": 30, "temperature": 0.8, "top_p": 0.05, "seed": 4},
        {"max_new_tokens": 30, "temperature": 1.5, "top_p": 0.02, "seed": 5, "stop": ["e"]},
    ):
        expected = predictor.predict(EXAMPLE_INPUTS, **options)
        outputs = asyncio.run(runner.predict(EXAMPLE_INPUTS, options, soon()))
        assert [each["text"] for each in outputs] == [each["text"] for each in expected]
        assert [each["finish_reason"] for each in outputs] == [
            each["finish_reason"] for each in expected
        ]


def test_more_answers_than_places_wait_and_no_more_than_allowed(start: Start) -> None:
    runner = start(max_streams=2, max_waiting=2)

    async def load() -> list[Any]:
        drawn: dict[str, Any] = {"max_new_tokens": 40, "temperature": 1.0, "top_p": 0.02}
        asked = [Asked("Hello", **drawn, seed=seed) for seed in range(6)]
        alone = [await text(runner, each) for each in asked[:1]]
        tasks = [asyncio.create_task(text(runner, each)) for each in asked]
        await asyncio.sleep(0)
        assert runner.waiting() <= 2
        done = await asyncio.gather(*tasks, return_exceptions=True)
        assert done[0] == alone[0]
        return done

    done = asyncio.run(load())
    refused = [each for each in done if isinstance(each, ServiceError)]
    assert [(each.status_code, each.code) for each in refused] == [(429, "overloaded")] * 2
    assert len([each for each in done if isinstance(each, str)]) == 4
    assert runner.waiting() == 0


def test_who_leaves_frees_the_place_and_the_memory(start: Start, metrics: Metrics) -> None:
    runner = start(max_streams=1)

    async def leave() -> None:
        first = runner.stream(Asked("Hello", max_new_tokens=200), soon())
        async with aclosing(first):
            await anext(first)
            waiting = asyncio.create_task(text(runner, Asked("Hello", max_new_tokens=200)))
            await until(lambda: runner.waiting() == 1)
            waiting.cancel()
            await until(lambda: runner.waiting() == 0)
        await until(lambda: runner._batching.active == 0)
        await text(runner, Asked("Hello", max_new_tokens=2))

    asyncio.run(leave())
    assert metrics.dropped.labels("cancelled")._value.get() == 1
    assert runner._metrics.completion_tokens._value.get() < 200


def test_the_deadline_ends_an_answer_and_drops_one_that_waits(
    start: Start, metrics: Metrics
) -> None:
    runner = start(max_streams=1)
    slow_down(runner)

    async def late() -> list[Any]:
        runner._admission.answer_seconds = 0.0  # not told at once that it would be too late
        asked = Asked("Hello", max_new_tokens=230)
        # the one that waits is late first: else it could get the place in its last moment
        both = (whole_answer(runner, asked, soon(1.5)), whole_answer(runner, asked, soon(0.5)))
        done = await asyncio.gather(*both, return_exceptions=True)
        await until(lambda: runner._batching.active == 0)
        return done

    codes = [error.code for error in asyncio.run(late())]
    assert codes == ["deadline_exceeded"] * 2
    assert metrics.dropped.labels("deadline")._value.get() == 1


@pytest.mark.parametrize(("tokens", "seconds"), [(5, 60.0), (230, 1.5)])
def test_who_does_not_read_keeps_no_place(start: Start, tokens: int, seconds: float) -> None:
    """A place is free after the last token and after the deadline, whoever holds the stream."""
    runner = start(max_streams=1)
    slow_down(runner)

    async def stop_reading() -> None:
        asked = Asked("Hello", max_new_tokens=tokens)
        async with aclosing(runner.stream(asked, soon(seconds))) as first:
            await anext(first)
            next_one = Asked("Hello", max_new_tokens=2)
            await whole_answer(runner, next_one, soon(6))  # 230 tokens take longer

    asyncio.run(stop_reading())
    assert runner._writing == 0


def test_a_stream_counts_though_nobody_asks_beyond_its_last_piece(start: Start) -> None:
    runner = start()
    runner._failures = 1

    async def read_to_the_end() -> None:
        stream = runner.stream(Asked("Hello", max_new_tokens=5), soon())
        while (await anext(stream)).finish_reason is None:
            pass
        assert runner._failures == 0
        assert runner._admission.answer_seconds > 0
        await stream.aclose()

    asyncio.run(read_to_the_end())


def test_long_prompts_wait_in_the_queue_too(
    start: Start, metrics: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner, free, read = start(max_streams=1, max_waiting=2), threading.Event(), []

    def slowly(prompt: str, number: int) -> list[int]:
        read.append(number)
        free.wait(20)
        return [1]

    monkeypatch.setattr(runner._predictor, "encode", slowly)

    async def crowd() -> list[str]:
        asked = Asked("long " * 1000, max_new_tokens=2)
        answers = [asyncio.create_task(whole_answer(runner, asked, soon(2))) for _ in range(6)]
        await asyncio.sleep(0)
        assert runner.waiting() == 3
        done = await asyncio.gather(*answers, return_exceptions=True)
        free.set()
        return [getattr(each, "code", "answered") for each in done]

    assert sorted(asyncio.run(crowd())) == ["deadline_exceeded"] * 3 + ["overloaded"] * 3
    assert len(read) == 1, "what was too late is read all the same"
    assert metrics.dropped.labels("deadline")._value.get() == 3


def test_a_wait_beyond_the_deadline_is_refused_at_once(start: Start) -> None:
    runner = start(max_streams=1)

    async def refused() -> ServiceError:
        runner._admission.answer_seconds = 100.0
        first = runner.stream(Asked("Hello", max_new_tokens=200), soon())
        async with aclosing(first):
            await anext(first)
            with pytest.raises(ServiceError) as caught:
                await text(runner, Asked("Hello"))
        return caught.value

    error = asyncio.run(refused())
    assert error.status_code == 429 and error.headers == {"Retry-After": "60"}


def test_a_bad_input_gives_up_its_request(start: Start) -> None:
    runner = start()
    with pytest.raises(UserError, match="input 2 is empty"):
        asyncio.run(runner.predict(["Hello", " "], {"max_new_tokens": 5}, soon()))
    assert len(asyncio.run(runner.predict(["Hello"], {"max_new_tokens": 5}, soon()))) == 1


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ValueError("broken"), "model_failed"),
        (torch.OutOfMemoryError("CUDA out of memory"), "out_of_memory"),
    ],
)
def test_a_failure_is_told_and_the_next_answer_works(
    start: Start, error: Exception, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = start()
    # what pytest keeps of the log has the failed step's frames
    monkeypatch.setattr(logging.getLogger("ContinuousBatchingLogger"), "disabled", True)
    head = runner._predictor.model.get_output_embeddings()  # adapters or not, all pass it

    class Tensor:
        """Stands for one of the step that fails."""

    left = []

    def fail(*_: object) -> None:
        tensor = Tensor()
        left.append(weakref.ref(tensor))
        raise error

    async def go_wrong() -> None:
        hook = head.register_forward_pre_hook(fail)
        with pytest.raises(ServiceError) as caught:
            await whole_answer(runner, Asked("Hello", max_new_tokens=5), soon())
        assert (caught.value.status_code, caught.value.code) == (503, code)
        hook.remove()
        del caught
        assert left and not any(each() for each in left), "the failed step keeps its memory"
        assert runner.stalled() is None
        assert await text(runner, Asked("Hello", max_new_tokens=5))

    asyncio.run(go_wrong())


def test_after_failures_in_a_row_it_is_not_ready_and_nobody_hangs(start: Start) -> None:
    runner = start()

    def fail(*_: object) -> None:
        raise ValueError("broken")

    head = runner._predictor.model.get_output_embeddings()
    hook = head.register_forward_pre_hook(fail)

    async def go_wrong() -> list[str]:
        codes = []
        for _ in range(3):
            with pytest.raises(ServiceError) as caught:
                await whole_answer(runner, Asked("Hello", max_new_tokens=5), soon())
            codes.append(caught.value.code)
        assert runner.stalled() is not None
        hook.remove()
        await text(runner, Asked("Hello", max_new_tokens=5))
        return codes

    assert asyncio.run(go_wrong()) == ["model_failed"] * 3
    assert runner.stalled() is None


def test_a_model_that_it_would_compute_wrongly_is_batched_otherwise(
    tiny_run: Path, metrics: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    from inference import continuous

    def other_model(predictor: Any, prompt: list[int]) -> Any:
        logits_TV = torch.zeros(1, 4096)
        logits_TV[0, 1] = 1.0
        return prompt, [1], logits_TV

    monkeypatch.setattr(continuous, "_reference", other_model)
    runner = load_runner(tiny_run, ServeSettings(), metrics)
    assert isinstance(runner, BatchedRunner)
    assert len(asyncio.run(runner.predict(["Hello"], {"max_new_tokens": 5}, soon()))) == 1
    runner.close()


def test_a_model_that_is_not_taken_stays_as_it_was(
    tiny_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    predictor = load_predictor(tiny_run, "cpu")
    predictor.model.set_attn_implementation("eager")  # the library wants another
    monkeypatch.setattr(ContinuousBatchingManager, "warmup", lambda _: 1 // 0)
    with pytest.raises(UnsupportedModelError, match="ZeroDivisionError"):
        ContinuousBatching(predictor, ServeSettings().engine)
    assert predictor.model.config._attn_implementation == "eager"
    assert logging.getLogger("ContinuousBatchingLogger").level == logging.ERROR
    assert predictor.predict(["Hello"], max_new_tokens=2)


def test_prompts_are_read_by_several_threads_at_once(tiny_run: Path) -> None:
    """Also with a tokenizer saved with padding and cutting, which it forgets at its first use."""
    loaded = load_predictor(tiny_run, "cpu")
    backend = loaded.tokenizer.backend_tokenizer
    backend.enable_padding()
    backend.enable_truncation(3)
    predictor = type(loaded)(loaded.model, loaded.tokenizer, "x", "y")
    assert backend.padding is None and backend.truncation is None
    prompts = [f"{i} " * (i + 1) for i in range(200)]
    with ThreadPoolExecutor(8) as pool:
        ids = list(pool.map(predictor.encode, prompts))
    assert ids == [predictor.encode(prompt) for prompt in prompts]


def test_little_memory_is_shared_out(start: Start) -> None:
    """Answers that do not fit at the same time take turns, and none is lost."""
    runner = start(max_context_tokens=128, max_streams=4)

    async def all_of_them() -> list[str]:
        asked = [Asked("Hello", max_new_tokens=100, seed=i, temperature=1.0) for i in range(8)]
        return await asyncio.gather(*(text(runner, each) for each in asked))

    assert runner._batching.context_tokens == 128
    assert len(set(asyncio.run(all_of_them()))) == 8
    with pytest.raises(UserError, match="context of 128 tokens"):
        asyncio.run(runner.predict(["Hello"], {"max_new_tokens": 128}, soon()))
