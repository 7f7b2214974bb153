"""The service in trouble: too many clients, clients that leave, another model, the end."""

from __future__ import annotations

import asyncio
import http.client
import json
import re
import shutil
import signal
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from inference.api import EXAMPLE_REQUEST
from inference.loadtesting.client import Connection, Target
from inference.loadtesting.served import Served
from inference.loadtesting.traffic import Load, Observed, Plan

ADMIN_KEY = "0d6f1c52b7e94a38"  # pragma: allowlist secret
BODY = json.dumps({**EXAMPLE_REQUEST, "inputs": EXAMPLE_REQUEST["inputs"][:1]}).encode()
WAITING = 16  # inputs at most
FEW, MANY = 4, 80  # clients: fewer than may wait, also for a busy event loop; far more than that
HONEST = {"429 overloaded", "503 deadline_exceeded"}


@pytest.fixture(scope="module")
def served(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A service in which few may wait."""
    folder = tmp_path_factory.mktemp("served")
    keys = {"ADMIN_KEYS": ADMIN_KEY, "API_KEYS": "", "API_KEY": ""}
    arguments = ("--engine.max_waiting", str(WAITING), "--service.drain_seconds", "0.5")
    with Served(tiny_run, folder, arguments, keys) as service:
        yield service


def plan(served: Served, seconds: float = 1.0) -> Plan:
    target = Target.of(served.url)
    message = target.message("POST", "/v1/predict", BODY)
    return Plan(target, [message], deadline=30.0, seconds=seconds, warm_up=0.1)


def codes(seen: Observed) -> Counter[str]:
    return Counter(record.code for record in seen.records)


def metric(served: Served, name: str) -> float:
    with urllib.request.urlopen(f"{served.url}/metrics", timeout=30) as response:
        text = response.read().decode()
    return sum(float(value) for value in re.findall(rf"^{name}(?:{{.*}})? (\S+)$", text, re.M))


def test_too_many_clients_are_refused_and_the_rest_answered(served: Served) -> None:
    seen = asyncio.run(Load(plan(served)).closed(MANY))
    counted = codes(seen)
    assert counted["200"] > 0 and counted["429 overloaded"] > 0
    assert set(counted) <= {"200", *HONEST}, counted
    assert all(seconds < float("inf") for seconds in seen.health)
    assert asyncio.run(one_status(served)) == 200


def test_clients_that_leave_hinder_nobody(served: Served) -> None:
    leaving = replace(plan(served), disconnects=0.3, leave_after=0.0)
    counted = codes(asyncio.run(Load(leaving).closed(MANY)))
    assert counted["left"] > 0 and counted["200"] > 0
    assert set(counted) <= {"200", "left", *HONEST}, counted
    end = time.monotonic() + 60
    while metric(served, "inference_queue_depth"):
        assert time.monotonic() < end, "inputs of clients that left still wait"
        time.sleep(0.1)
    assert asyncio.run(one_status(served)) == 200


def test_no_request_fails_while_the_model_is_changed(
    served: Served, tiny_run: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    shutil.copytree(tiny_run, other)
    (other / "note.json").write_text("{}", "utf-8")  # the same files would not be loaded again
    load = Load(plan(served, seconds=120.0))

    async def while_loaded() -> tuple[int, bool]:
        asking = asyncio.create_task(load.closed(FEW))
        await asyncio.sleep(0.2)
        answer = await asyncio.to_thread(reload, served, other)
        await asyncio.sleep(0.2)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        return answer

    assert asyncio.run(while_loaded()) == (200, True)
    assert set(codes(load.observed)) == {"200"}


def test_a_model_that_answers_already_is_not_loaded_again(
    served: Served, tiny_run: Path, tmp_path: Path
) -> None:
    assert reload(served, tiny_run)[0] == 200
    shutil.copytree(tiny_run, tmp_path / "copy")
    for folder in (tiny_run, tmp_path / "copy"):
        assert reload(served, folder) == (200, False)


def test_a_sigterm_loses_nothing(served: Served) -> None:  # the last one: it ends the service
    async def client(target: Target, counted: Counter[str]) -> None:
        connection = Connection(target, again=False)
        message = target.message("POST", "/v1/predict", BODY)
        while True:
            try:
                await connection.connect()
            except OSError:
                return  # no more are taken: a balancer asks another replica
            try:
                answer = await connection.ask(message)
            except (OSError, EOFError):
                counted["lost"] += 1
                return
            counted["200" if answer.status == 200 else answer.code] += 1

    async def work() -> tuple[int, Counter[str]]:
        target, counted = Target.of(served.url), Counter[str]()
        clients = [asyncio.create_task(client(target, counted)) for _ in range(FEW)]
        while counted["200"] < FEW:
            await asyncio.sleep(0.01)
        before = counted["200"]
        served.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(120):
            await asyncio.gather(*clients)
        return before, counted

    before, counted = asyncio.run(work())
    assert served.process.wait(timeout=60) == 0
    assert counted["lost"] == 0
    assert set(counted) <= {"200", "503 draining", "lost"}, counted
    assert counted["200"] > before  # it went on answering


async def one_status(served: Served) -> int:
    target = Target.of(served.url)
    connection = Connection(target)
    try:
        return (await connection.ask(target.message("POST", "/v1/predict", BODY))).status
    finally:
        connection.close()


def reload(served: Served, model: Path) -> tuple[int, bool]:
    """Ask for another model; returns the status, and whether it is another."""
    target = Target.of(served.url)
    connection = http.client.HTTPConnection(target.host, target.port, timeout=120)
    headers = {"Authorization": f"Bearer {ADMIN_KEY}", "Content-Type": "application/json"}
    connection.request("POST", "/admin/reload", json.dumps({"model": str(model)}), headers)
    response = connection.getresponse()
    answer = json.loads(response.read())
    connection.close()
    return response.status, bool(answer.get("changed"))
