"""The load test: what it counts against a service whose behaviour is known, and its command."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from inference import loadtest
from inference.loadtest import output_file, say_knee
from inference.loadtesting.client import Target
from inference.loadtesting.picture import draw
from inference.loadtesting.results import (
    COLUMNS,
    STREAM_COLUMNS,
    Level,
    cost,
    doubtful,
    heading,
    knee,
    legend,
    level,
)
from inference.loadtesting.traffic import Load, Observed, Plan, Record
from inference.project import ConfigError

ROOT = Path(__file__).resolve().parents[1]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
BUSY_BODY = b'{"error":{"code":"overloaded","message":"later"}}'
BUSY = b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: %d\r\n\r\n" % len(BUSY_BODY) + BUSY_BODY

Reply = Callable[[int], Awaitable[bytes]]
"""What the service answers to its n-th request for a prediction."""


class FakeService:
    """Speaks HTTP/1.1 with kept connections; knows who left without an answer."""

    def __init__(self, reply: Reply) -> None:
        self._reply = reply
        self.requests: list[bytes] = []
        self.deserted = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                if head.startswith(b"GET"):
                    writer.write(OK)
                    continue
                await reader.readexactly(2)
                self.requests.append(head)
                answer = asyncio.ensure_future(self._reply(len(self.requests)))
                gone = asyncio.ensure_future(reader.read(1))
                await asyncio.wait((answer, gone), return_when=asyncio.FIRST_COMPLETED)
                if gone.done():
                    self.deserted += 1
                    answer.cancel()
                    return
                gone.cancel()
                await asyncio.gather(gone, return_exceptions=True)
                writer.write(answer.result())
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


def observed(
    service: FakeService, load: Callable[[Load], Awaitable[Observed]], **changed: object
) -> Observed:
    async def run() -> Observed:
        server = await asyncio.start_server(service.serve, "127.0.0.1", 0)
        async with server:
            target = Target("127.0.0.1", server.sockets[0].getsockname()[1])
            message = target.message("POST", "/v1/predict", b"{}")
            plan = Plan(target, [message], deadline=2.0, seconds=0.6, warm_up=0.1)
            return await load(Load(replace(plan, **changed)))  # type: ignore[arg-type]

    return asyncio.run(run())


async def at_once(number: int) -> bytes:
    return OK


async def every_second_busy(number: int) -> bytes:
    return OK if number % 2 else BUSY


def test_closed_loop_counts_answers_and_refusals() -> None:
    service = FakeService(every_second_busy)
    seen = level(observed(service, lambda load: load.closed(4)), "closed", 4, 2.0)
    assert seen.answered_rps > 0
    assert set(seen.errors) == {"429 overloaded"}
    assert 0.3 < seen.good_share < 0.7
    assert seen.health_p99_ms is not None
    assert seen.p50_ms is not None and seen.p99_ms is not None and seen.p50_ms <= seen.p99_ms


def test_open_loop_keeps_its_rate_and_counts_from_when_a_request_was_due() -> None:
    """The service stands still for a while: what was due meanwhile has waited, and it shows."""

    async def stalls(number: int) -> bytes:
        if number <= 5:  # asyncio's only thread: nobody is answered, nothing is sent
            time.sleep(0.1)
        return OK

    seen = observed(FakeService(stalls), lambda load: load.open(100), warm_up=0.01)
    assert 25 < len(seen.records) < 110  # 61 are due on average
    assert max(record.latency for record in seen.records) > 0.2
    assert sum(record.latency > 0.1 for record in seen.records) > 5  # far more than one


def test_clients_that_leave_close_their_connection() -> None:
    async def never(number: int) -> bytes:
        await asyncio.sleep(60)
        return OK

    service = FakeService(never)
    seen = observed(
        service, lambda load: load.closed(3), disconnects=1.0, leave_after=0.02, seconds=0.3
    )
    assert {record.code for record in seen.records} == {"left"}
    assert service.deserted >= len(service.requests) - 3 > 0
    assert level(seen, "closed", 3, 2.0).left > 0


def test_a_closed_port_is_counted_not_raised() -> None:
    async def run() -> Observed:
        plan = Plan(Target("127.0.0.1", 9), [b"-"], deadline=1.0, seconds=0.2, warm_up=0.0)
        return await Load(plan).closed(2)

    assert {record.code for record in asyncio.run(run()).records} == {"connection"}


def test_late_answers_are_no_goodput() -> None:
    records = [Record(10 + n / 10, 0.0, 10 + n / 10 + 0.05 * n, "200") for n in range(10)]
    seen = level(Observed(10.0, 12.0, records), "open", 5, deadline=0.2)
    assert seen.answered_rps == 5 and seen.goodput_rps == 2.5 and seen.good_share == 0.5


def rising(*p95s: float, share: float = 1.0) -> list[Level]:
    base = level(Observed(0.0, 1.0, [Record(0.1, 0.0, 0.2, "200")]), "open", 1, 1.0)
    levels = [
        replace(base, load=10.0 * n, answered_rps=10.0 * n, p50_ms=p / 2, p95_ms=p, p99_ms=2 * p)
        for n, p in enumerate(p95s, start=1)
    ]
    return [*levels[:-1], replace(levels[-1], good_share=share)]


def test_the_knee_is_the_last_load_before_latency_or_losses_rise() -> None:
    by_latency = knee(rising(10, 12, 29, 31, 12))
    assert by_latency is not None and by_latency.load == 30
    by_losses = knee(rising(10, 10, 10, share=0.98))
    assert by_losses is not None and by_losses.load == 20
    assert knee(rising(10, share=0.5)) is None
    assert knee([]) is None


def test_a_load_that_failed_below_one_that_was_carried_is_doubted() -> None:
    assert [one.load for one in doubtful(rising(10, 12, 31, 12, 40))] == [30]
    assert not doubtful(rising(10, 12, 31, 40))
    assert not doubtful([])


def test_a_doubted_load_is_measured_once_more(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[float] = []

    class Chance:
        def __init__(self, plan: Plan) -> None: ...

        async def open(self, load: float) -> Observed:
            asked.append(load)
            code = "429 overloaded" if asked == [10, 20] else "200"
            return Observed(0.0, 1.0, [Record(0.1, 0.0, 0.2, code)])

    async def name(*_: object) -> str:
        return "mine"

    url = "http://127.0.0.1:9"
    monkeypatch.setattr(loadtest, "Load", Chance)
    monkeypatch.setattr(loadtest, "try_once", name)
    monkeypatch.setattr(sys, "argv", ["loadtest", "--url", url, "--rate", "10", "20", "30"])
    levels, _ = asyncio.run(loadtest.measure(loadtest.arguments(), url))
    assert asked == [10, 20, 30, 20]
    found = knee(levels)
    assert [one.load for one in levels] == [10, 20, 30] and found and found.load == 30


def test_replicas_and_dollars_follow_from_the_knee() -> None:
    found = cost(knee_rps=100, target_rps=500, dollars_per_hour=0.72, headroom=0.3)
    assert found.planned_rps == pytest.approx(70)
    assert found.replicas == 8
    assert found.dollars_per_million == pytest.approx(8 * 0.72 / (500 * 3600) * 1e6)
    alone = cost(100, None, 0.72, 0.0)
    assert alone.replicas is None and alone.dollars_per_million == pytest.approx(2.0)


def test_a_late_client_makes_no_firm_plan(capsys: pytest.CaptureFixture[str]) -> None:
    options = argparse.Namespace(target_rps=500.0, cost_per_hour=0.8, headroom=0.3)
    assert say_knee(options, 100.0, last=False, reliable=True)["reliable"]
    assert "unreliable" not in capsys.readouterr().out
    assert not say_knee(options, 100.0, last=False, reliable=False)["reliable"]
    said = capsys.readouterr().out
    assert said.index("unreliable") < said.index("replicas for 500")


def test_results_lie_beside_the_model_not_in_it(tmp_path: Path) -> None:
    for name in ("final", "export"):
        model = tmp_path / "models/mine" / name
        model.mkdir(parents=True)
        options = argparse.Namespace(output=None, serve=str(model))
        assert output_file(options, "mine") == tmp_path / "models/mine/loadtest.json"


def test_the_picture_is_an_svg_with_the_knee() -> None:
    levels = rising(10, 12, 400)
    root = ElementTree.fromstring(draw(levels, levels[1], 'Latency of <"&'))
    words = " ".join(root.itertext())
    assert "knee: 20 per s" in words and 'Latency of <"&' in words
    lines = root.findall("{http://www.w3.org/2000/svg}polyline")
    assert [len(line.attrib["points"].split()) for line in lines] == [3, 3, 3]


@pytest.mark.parametrize("url", ["ftp://x", "127.0.0.1:8000", "http://me@x", "http://x:port", ""])
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="--url"):
        Target.of(url)


def test_the_key_comes_from_the_environment_and_reaches_the_header_only() -> None:
    target = Target.of("http://h:1/base/", (("Authorization", "Bearer key-of-mine"),))
    message = target.message("POST", "/v1/predict", b"{}")
    assert message.startswith(b"POST /base/v1/predict HTTP/1.1\r\nHost: h:1\r\n")
    assert b"\r\nAuthorization: Bearer key-of-mine\r\n" in message and message.endswith(b"\r\n{}")


def run_loadtest(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "inference/loadtest.py"), *arguments]
    environment = {**os.environ, "API_KEYS": "", "API_KEY": ""}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )


def test_the_command_serves_loads_and_writes(tiny_run: Path, tmp_path: Path) -> None:
    output = tmp_path / "out/loadtest.json"
    wanted = ["--serve", str(tiny_run), "--rate", "4", "8", "--duration", "1", "--deadline", "20"]
    money = ["--target-rps", "100", "--cost-per-hour", "0.8", "--output", str(output)]
    done = run_loadtest(*wanted, *money, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    report = json.loads(output.read_text("utf-8"))
    assert [one["load"] for one in report["levels"]] == [4, 8]
    assert all(one["answered_rps"] > 0 and not one["errors"] for one in report["levels"])
    assert report["replicas"] >= 1 and "dollars per million requests" in done.stdout
    ElementTree.parse(output.with_suffix(".svg"))


def test_mistakes_are_one_sentence(tmp_path: Path) -> None:
    for arguments in (
        ("--url", "http://127.0.0.1:9"),
        ("--url", "http://127.0.0.1:9", "--rate", "-1"),
        ("--url", "http://127.0.0.1:9", "--inputs", "none.jsonl"),
        ("--serve", "no/such/model"),
        (),
    ):
        done = run_loadtest(*arguments, folder=tmp_path)
        assert done.returncode in (1, 2)
        assert len(done.stderr.strip().splitlines()) == 1, done.stderr
        assert done.stderr.startswith("error: ")


@pytest.mark.parametrize("streams", [False, True])
def test_every_column_is_explained(streams: bool) -> None:
    text = legend(5.0, streams).replace("\n", " ")
    columns = [name for name, _ in (*COLUMNS, *(STREAM_COLUMNS if streams else ()))]
    for column in (*columns, "not answered"):
        assert column in heading(streams)
        assert column.removesuffix(" ms") in text, column
    assert "within 5 s" in text


def test_help_names_every_default(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(sys, "argv", ["loadtest.py", "--help"])
        loadtest.arguments()
    text = " ".join(capsys.readouterr().out.split())
    for words in ("(default: 5.0)", "(default: 1.0)", "of a request (default: 1)", "0.3)"):
        assert words in text
