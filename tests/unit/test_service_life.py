"""How the service begins and ends, over real HTTP and with a stub in the place of the model."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from serving import IDENTITY, Start, at_work, starter, wait_until

pytestmark = pytest.mark.unit


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a service of one's own."""
    yield from starter(tmp_path, "text_classification")


def test_alive_at_once_and_ready_only_after_loading(start: Start) -> None:
    service = start(STUB_LOAD_SECONDS="1").wait_for_port()
    assert service.get("/healthz").body == {"status": "ok"}
    for early in (service.get("/readyz"), service.predict("one")):
        assert (early.status, early.error["code"]) == (503, "loading")
        assert early.headers["retry-after"] == "1"
    service.wait_until_ready()
    assert service.get("/readyz").body["model"] == IDENTITY


def test_health_answers_while_the_model_is_busy(start: Start, computed: Path, free: Path) -> None:
    service = start().wait_until_ready()
    with ThreadPoolExecutor() as pool:
        slow = pool.submit(service.predict, "hold")
        at_work(computed, "hold")
        assert service.get("/healthz").status == service.get("/readyz").status == 200
        assert not slow.done()
        free.touch()
        assert slow.result().status == 200


def test_sigterm_under_load_loses_no_request(start: Start) -> None:
    service = start("--service.drain_seconds", "1").wait_until_ready()
    outcomes: list[str] = []

    def client(number: int) -> None:
        keep_alive = http.client.HTTPConnection("127.0.0.1", service.port, timeout=20)
        while True:
            try:
                if number % 2:
                    outcomes.append(str(service.predict("sleep 0.01").status))
                    continue
                keep_alive.request(
                    "POST",
                    "/v1/predict",
                    b'{"inputs": ["sleep 0.01"]}',
                    {"Content-Type": "application/json"},
                )
                response = keep_alive.getresponse()
                response.read()
                outcomes.append(str(response.status))
            except ConnectionRefusedError:
                return  # not accepted, so not lost
            except OSError as error:
                outcomes.append(repr(error))

    with ThreadPoolExecutor(8) as pool:
        clients = [pool.submit(client, number) for number in range(8)]
        wait_until(lambda: len(outcomes) > 100)
        service.process.send_signal(signal.SIGTERM)
        draining = wait_until(
            lambda: next((r for r in [service.get("/readyz")] if r.status == 503), None)
        )
        assert draining.error["code"] == "draining"
        assert service.get("/healthz").status == 200
        for each in clients:
            each.result(timeout=20)
    assert service.process.wait(timeout=20) == 0
    assert set(outcomes) == {"200"}


def test_slow_request_is_finished_after_sigterm(start: Start, computed: Path) -> None:
    service = start("--service.drain_seconds", "0").wait_until_ready()
    with ThreadPoolExecutor() as pool:
        slow = pool.submit(service.predict, "sleep 1.5")
        at_work(computed, "sleep 1.5")
        assert service.stop() == 0
        assert slow.result().status == 200


def test_request_that_outlasts_the_end_is_told_so(start: Start, computed: Path) -> None:
    service = start(
        *("--service.drain_seconds", "0", "--service.shutdown_seconds", "1")
    ).wait_until_ready()
    with ThreadPoolExecutor() as pool:
        slow = pool.submit(service.predict, "hold")
        at_work(computed, "hold")
        assert service.stop() == 0
        reply = slow.result()
    assert (reply.status, reply.error["code"]) == (503, "draining")
    assert reply.headers["retry-after"] and reply.headers["connection"] == "close"
    assert "Traceback" not in service.log.read_text("utf-8")


def test_longest_request_has_time_to_finish_unless_told_otherwise(
    start: Start, tmp_path: Path
) -> None:
    code = (
        "from inference.settings import load_settings\n"
        "for more in '', '--limits.deadline_seconds 600', '--service.shutdown_seconds 5':\n"
        "    settings = load_settings(['--model', 'models/a-run/final', *more.split()])\n"
        "    print(settings.end_seconds - settings.limits.deadline_seconds)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path / "project", capture_output=True, text=True
    )
    assert done.stdout.split() == ["2.0", "2.0", "-25.0"], done.stderr


def test_sigterm_while_loading_ends_at_once(start: Start) -> None:
    service = start("--service.drain_seconds", "0", STUB_LOAD_SECONDS="60").wait_for_port()
    wait_until(lambda: service.get("/healthz").status == 200)
    begun = time.monotonic()
    assert service.stop() == 0
    assert time.monotonic() - begun < 5


def test_interrupt_stops_without_a_wait(start: Start) -> None:
    service = start("--service.drain_seconds", "60").wait_until_ready()
    assert service.stop(signal.SIGINT) == 0


def test_client_that_stops_in_the_middle_of_its_body_does_not_delay_the_end(start: Start) -> None:
    service = start("--service.drain_seconds", "0").wait_until_ready()
    with socket.create_connection(("127.0.0.1", service.port), timeout=20) as client:
        client.sendall(
            b"POST /v1/predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b'Content-Length: 100\r\n\r\n{"inputs'
        )
        time.sleep(0.2)
        begun = time.monotonic()
        assert service.stop() == 0
        assert time.monotonic() - begun < 6


WATCHED = """
import asyncio
from inference import engine
from inference.api import ModelInfo
from inference.errors import out_of_memory
from inference.metrics import Metrics
from inference.schema import EXAMPLE_OUTPUTS

class Runner:
    info = ModelInfo(name="a", version="b", digest="c")
    asked = failing = 0
    reason = None

    def waiting(self):
        return 0

    def stalled(self):
        return self.reason

    async def predict(self, inputs, options, deadline):
        assert len(inputs) == 1
        self.asked += 1
        if self.failing:
            self.failing -= 1
            raise out_of_memory()
        self.reason = None
        return EXAMPLE_OUTPUTS[:1]

async def work(failing):
    runner, metrics = Runner(), Metrics()
    one = engine.Engine(lambda *_: runner, "a", metrics)
    await one.start()
    assert one.problem() is None, one.failure
    runner.reason, runner.failing = "no memory", failing
    watching = asyncio.create_task(one.watch())
    async with asyncio.timeout(10):
        while runner.reason and not one.failure:
            await asyncio.sleep(0.01)
    watching.cancel()
    print(failing, one.failure, one.problem() and one.problem().code)

engine.LOOK_SECONDS = 0.01
asyncio.run(work(1))
asyncio.run(work(99))
"""


def test_a_model_that_is_stalled_recovers_or_ends_the_process(start: Start, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WATCHED], cwd=tmp_path / "project", capture_output=True, text=True
    )
    assert done.stdout.splitlines() == ["1 None None", "99 no memory stalled"], done.stderr


def test_api_key_is_needed_but_not_by_probes(start: Start) -> None:
    service = start(
        API_KEYS="first-key-of-three, second-key-of-three"  # pragma: allowlist secret
    ).wait_until_ready()
    assert service.get("/healthz").status == 200
    good = {"Authorization": "Bearer second-key-of-three"}
    bad = [
        {},
        *(
            {"Authorization": a}
            for a in (
                "second-key-of-three",
                "Bearer",
                "Bearer first",
                "Basic first-key-of-three",
                "Bearer \xe9",
            )
        ),
    ]
    assert service.post(b'{"inputs": ["a"]}', good).status == 200
    for headers in bad:
        reply = service.post(b"not even JSON", headers)
        assert (reply.status, reply.error["code"]) == (401, "unauthorized")
        assert reply.headers["www-authenticate"] == "Bearer"
        unknown = headers.get("Authorization", "").startswith("Bearer ")
        assert ("not known" in reply.error["message"]) == unknown
    assert service.get("/metrics").status == 401
    assert service.stop(signal.SIGINT) == 0  # then the log is whole
    assert "second-key-of-three" not in service.log.read_text("utf-8")


def test_api_keys_are_read_from_dotenv(start: Start, tmp_path: Path) -> None:
    (tmp_path / "project/.env").write_text("API_KEYS=from-the-file\n", "utf-8")
    environment = {name: value for name, value in os.environ.items() if name != "API_KEYS"}
    command = [
        sys.executable,
        "-c",
        "from inference.__main__ import *; load_dotenv('.env'); print(os.environ['API_KEYS'])",
    ]
    done = subprocess.run(
        command,
        cwd=tmp_path / "project",
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "from-the-file\n"


REFUSED = {
    "no such model": (["--model", "models/none"], {}, "models/none: no such folder"),
    "a file": (
        ["--model", "models/a-run/final/config.json"],
        {},
        "this is a file; name its folder models/a-run/final",
    ),
    "run in place of final": (["--model", "models/a-run"], {}, "did you mean models/a-run/final?"),
    "misspelt key": (["--limits.max_input", "3"], {}, "did you mean `--limits.max_inputs`?"),
    "wrong type": (["--port", "http"], {}, "service.port"),
    "no such config": (["--config", "none.yaml"], {}, "none.yaml: no such file"),
    "placeholder key": ([], {"API_KEYS": "my_prod_your_key_here"}, "placeholder"),
    "empty keys": ([], {"API_KEYS": " , "}, "holds no key"),
}


@pytest.mark.parametrize("arguments, environment, sentence", REFUSED.values(), ids=REFUSED)
def test_wrong_usage_is_one_sentence_before_listening(
    start: Start, arguments: list[str], environment: dict[str, str], sentence: str
) -> None:
    service = start(*arguments, **environment)
    assert service.process.wait(timeout=20) == 2
    (line,) = service.log.read_text("utf-8").splitlines()
    assert line.startswith("error: ") and sentence in line
    assert "my_prod" not in line


def test_port_in_use_is_one_sentence(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        service = start("--port", str(port))
        assert service.process.wait(timeout=20) == 2
    sentence = f"cannot listen on 127.0.0.1:{port} (Address already in use); choose another"
    assert sentence in service.log.read_text("utf-8").splitlines()[-1]


def test_weights_that_do_not_load_end_the_process_with_the_sentence(
    start: Start, tmp_path: Path
) -> None:
    (tmp_path / "project/models/a-run/final/broken").touch()
    service = start()
    assert service.process.wait(timeout=20) == 1
    log = service.log.read_text("utf-8")
    assert log.splitlines()[-1] == "error: the weights are cut short; train again"
    assert "Traceback" not in log
