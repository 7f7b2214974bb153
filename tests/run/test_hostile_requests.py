"""Each task's service under 2,000 malformed, oversized and hostile requests."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import random
import re
import urllib.request
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hostile import CANARY, Document, Hostile
from hostile_by_hand import by_file, by_hand
from hostile_media import LARGE_AND_CUT, broken, false_images, odd_images, sounds
from journey import get, post
from serving_projects import TASKS, Service, serving, smoke_trained

pytestmark = pytest.mark.run

REQUESTS = 2_000  # of each task; 10,000 in all
AT_ONCE = 12
PATIENCE_S = 60
HANG_UP_S = 4  # how long to wait for an answer that need not come
GROWTH_MIB = 64  # of what stays in memory after as many requests again
# The C library gives back at once what is freed; else it keeps the room of a large image a thread.
GIVE_BACK = {"MALLOC_MMAP_THRESHOLD_": "131072", "MALLOC_TRIM_THRESHOLD_": "131072"}
# little time for what never arrives, or the test would take long
LIMITS = ("--limits.body_seconds", "1", "--limits.deadline_seconds", "20")


@dataclass(frozen=True)
class Answer:
    """A response as it came over the wire."""

    status: int
    headers: dict[str, str]
    body: str


@pytest.mark.parametrize("task", TASKS)
def test_no_request_breaks_the_service_or_gets_into_its_log(
    task: str, environment: Path, tmp_path: Path
) -> None:
    project = smoke_trained(tmp_path / "project", task, environment)
    files = sounds() if task == "audio_classification" else [*false_images(), *odd_images(project)]
    with serving(project, *LIMITS, **GIVE_BACK) as service:
        service.wait_until_ready()
        with urllib.request.urlopen(f"{service.url}/openapi.json", timeout=10) as response:
            openapi = json.load(response)
        examples = documented_examples(openapi)
        before = post(f"{service.url}/v1/predict", examples["/v1/predict"])

        counts, faults = attack(service, openapi, examples, files, seed=1)
        assert not faults, faults_told(faults, service.log)
        settled_mib = resident_mib(service)
        more, faults = attack(service, openapi, examples, files, seed=2)
        assert not faults, faults_told(faults, service.log)

        assert sum(counts.values()) + sum(more.values()) >= REQUESTS
        assert counts[200] > 20, f"hardly any request got so far as to be computed: {counts}"
        assert service.process.poll() is None
        assert get(f"{service.url}/healthz") == get(f"{service.url}/readyz") == 200
        assert post(f"{service.url}/v1/predict", examples["/v1/predict"]) == before
        assert resident_mib(service) - settled_mib < GROWTH_MIB
        log = service.log.read_text("utf-8", "backslashreplace")
        assert CANARY not in log
        assert "Traceback" not in log and '"level": "error"' not in log, log[-4000:]


def documented_examples(openapi: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """A good body for each route that takes one; a chat about an image has the image."""
    document = Document(openapi, 0, random.Random(0), iter([b""]))
    found = {path: document.example(operation) for path, _, operation in document.operations}
    examples = {path: example for path, example in found.items() if example}
    first = examples["/v1/predict"]["inputs"][0]
    if "/v1/chat/completions" in examples:
        chat = examples["/v1/chat/completions"]
        chat["max_tokens"] = 6
        if isinstance(first, dict) and "image" in first:
            image = {"url": f"data:image/bmp;base64,{first['image']}"}
            parts = [{"type": "text", "text": "?"}, {"type": "image_url", "image_url": image}]
            chat["messages"] = [{"role": "user", "content": parts}]
    return examples


def attack(
    service: Service,
    openapi: dict[str, Any],
    examples: dict[str, dict[str, Any]],
    files: list[bytes],
    seed: int,
) -> tuple[Counter[int], list[str]]:
    """Send half of the requests; returns how often each status came, and what was wrong."""
    port = int(service.url.rpartition(":")[2])
    chance = random.Random(seed)
    example_files = [
        base64.b64decode(text) for text in re.findall(r"Qk1e[^\"]*", json.dumps(examples))
    ]
    damaged = broken([*files, *example_files], chance)
    document = Document(openapi, port, chance, damaged)
    thought_of = list(by_hand(examples, files, port))
    if LARGE_AND_CUT in files:  # often: nothing of them may stay in memory
        thought_of += 30 * list(by_file("/v1/predict", examples["/v1/predict"], LARGE_AND_CUT))
    made = itertools.islice(document.requests(), max(REQUESTS // 2 - len(thought_of), 300))
    everything = [*thought_of, *made]
    chance.shuffle(everything)
    return asyncio.run(send_all(port, everything))


async def send_all(port: int, requests: Iterable[Hostile]) -> tuple[Counter[int], list[str]]:
    """A few at a time."""
    counts: Counter[int] = Counter()
    faults: list[str] = []
    turn = asyncio.Semaphore(AT_ONCE)

    async def one(request: Hostile) -> None:
        async with turn:
            answer = await send(port, request)
        counts[answer.status if answer else 0] += 1
        fault = wrong_with(request, answer)
        if fault:
            faults.append(f"{fault} for {request.what}: {request.content[:400]!r}")

    await asyncio.gather(*(one(request) for request in requests))
    return counts, faults


async def send(port: int, request: Hostile) -> Answer | None:
    """The answer; None where the connection ended without one."""
    received = bytearray()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        async with asyncio.timeout(HANG_UP_S if request.may_hang_up else PATIENCE_S):
            try:
                writer.write(request.content)
                await writer.drain()
            except ConnectionError:
                pass  # it need not read all; what it said before may still be read
            while piece := await reader.read(65536):
                received += piece
    except (TimeoutError, ConnectionError):
        pass
    finally:
        writer.transport.abort()
    return parsed(bytes(received))


def parsed(received: bytes) -> Answer | None:
    """The first of the answers in it."""
    if received.startswith(b"HTTP/1.1 100 "):  # go on with the body
        received = received.partition(b"\r\n\r\n")[2]
    head, end, body = received.partition(b"\r\n\r\n")
    if not end:
        return None
    status, *lines = head.decode("latin-1").split("\r\n")
    pairs = (line.partition(":") for line in lines)
    headers = {name.lower(): value.strip() for name, _, value in pairs}
    return Answer(int(status.split()[1]), headers, body.decode("utf-8", "replace"))


def wrong_with(request: Hostile, answer: Answer | None) -> str | None:
    """What the answer should not be like."""
    if answer is None:
        return None if request.may_hang_up else "no answer"
    said = f"{answer.status} {answer.body[:300]}"
    if answer.status >= 500 and not (answer.status == 503 and "retry-after" in answer.headers):
        return said
    if "Traceback" in answer.body:
        return f"a traceback: {said}"
    if answer.status < 400:
        return None
    if CANARY in answer.body:
        return f"the input comes back: {said}"
    if "x-request-id" not in answer.headers:
        return None if request.may_hang_up else f"no id: {said}"
    if request.content.startswith(b"HEAD"):
        return None
    try:
        error = json.loads(answer.body)["error"]
    except (ValueError, KeyError, TypeError):
        return f"not our form of error: {said}"
    return None if error["message"] and len(error["message"]) < 500 else f"not a sentence: {said}"


def faults_told(faults: list[str], log: Path) -> str:
    """The first of each kind, and where in the service they happened."""
    kinds = {re.sub(r"\d+", "#", fault)[:60]: fault for fault in reversed(faults)}
    lines = log.read_text("utf-8", "backslashreplace").splitlines()
    places = [line[-2000:] for line in lines if '"exception"' in line][:5]
    return f"{len(faults)} faults, such as\n" + "\n".join([*[*kinds.values()][:25], *places])


def resident_mib(service: Service) -> float:
    """Memory that the service holds."""
    status = Path(f"/proc/{service.process.pid}/status").read_text("utf-8")
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert found
    return int(found[1]) / 1024
