"""SageMaker's contract, as a plain process with a folder in the place of /opt/ml."""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from serving import CANARY, IDENTITY, Service, assemble, at_work, wait_until

pytestmark = pytest.mark.unit

JSON = {"Content-Type": "application/json"}
IMAGE = b"GIF89a" + CANARY.encode()


class Container:
    """A project of one task, started the way SageMaker starts a container."""

    def __init__(self, root: Path, task: str) -> None:
        self.project, self.base = assemble(root / "project", task), root / "ml"
        self.model = self.base / "model"
        self.model.mkdir(parents=True)
        self.services: list[Service] = []

    def start(self, *arguments: str, **environment: str) -> Service:
        log = self.base / f"log-{len(self.services)}.jsonl"
        variables = {"SAGEMAKER_BASE_DIR": str(self.base), "SAGEMAKER_BIND_TO_PORT": "0"}
        with log.open("w") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "inference.sagemaker", *(arguments or ("serve",))],
                cwd=self.project,
                stdout=output,
                stderr=output,
                text=True,
                env={**os.environ, **variables, **environment},
            )
        self.services.append(Service(process, log))
        return self.services[-1]

    def put_model(self, where: str = "") -> None:
        shutil.copytree(self.project / "models/a-run/final", self.model / where, dirs_exist_ok=True)


def containers(root: Path, task: str) -> Iterator[Container]:
    container = Container(root, task)
    yield container
    for service in container.services:
        service.process.kill()
        service.process.wait()


@pytest.fixture
def container(tmp_path: Path) -> Iterator[Container]:
    yield from containers(tmp_path, "text_classification")


@pytest.fixture
def images(tmp_path: Path) -> Iterator[Container]:
    yield from containers(tmp_path, "image_classification")


@pytest.mark.parametrize("where", ["", "final", "export/final"])
def test_answers_ping_and_invocations(container: Container, where: str) -> None:
    container.put_model(where)
    service = container.start(STUB_LOAD_SECONDS="1", API_KEYS="not-read-here").wait_for_port()
    early = service.get("/ping")
    assert (early.status, early.body) == (503, b"")
    service.wait_until_ready()
    assert (service.get("/ping").status, service.get("/ping").body) == (200, b"")
    reply = service.request("POST", "/invocations", b'{"inputs": ["one"]}', JSON)
    assert reply.status == 200 and reply.body["model"] == IDENTITY
    assert reply.body["outputs"] == service.predict("one").body["outputs"]
    for body, status in ((b"{", 400), (b"{}", 422), (f'{{"{CANARY}": 1}}'.encode(), 422)):
        refused = service.request("POST", "/invocations", body, JSON)
        assert refused.status == status and CANARY not in refused.error["message"]
    csv = service.request("POST", "/invocations", b"a,b", {"Content-Type": "text/csv"})
    assert csv.status == 422 and "application/json" in csv.error["message"]


def test_a_media_file_as_it_is_is_one_input(images: Container) -> None:
    images.put_model()
    service = images.start().wait_until_ready()
    for kind in ("image/gif", "image/x-anything; a=b"):
        reply = service.request("POST", "/invocations", IMAGE, {"Content-Type": kind})
        assert reply.status == 200
        (output,) = reply.body["outputs"]
        assert base64.b64decode(output["label"]) == IMAGE
    empty = service.request("POST", "/invocations", b"", {"Content-Type": "image/gif"})
    assert empty.status == 422


def test_a_web_address_is_refused_unless_allowed(images: Container) -> None:
    images.put_model()
    service = images.start().wait_until_ready()
    reply = service.predict("R0lGODlh", f"https://{CANARY}.example.org/a.gif")
    assert (reply.status, reply.error["code"]) == (422, "url_refused")
    assert reply.error["message"].startswith("inputs[1]: ") and CANARY not in str(reply.body)


def test_attributes_and_inputs_are_not_logged(container: Container) -> None:
    container.put_model()
    debug = ("--service.access_log", "true", "--service.log_level", "debug")
    service = container.start("serve", *debug).wait_until_ready()
    headers = {**JSON, "X-Amzn-SageMaker-Custom-Attributes": CANARY}
    for text in (CANARY, f"refuse {CANARY}", f"break {CANARY}"):
        body = json.dumps({"inputs": [text]}).encode()
        service.request("POST", "/invocations", body, headers)
    assert service.stop() == 0
    log = service.log.read_text("utf-8")
    assert '"path": "/invocations"' in log and CANARY not in log


def test_sigterm_ends_within_what_sagemaker_allows(container: Container) -> None:
    container.put_model()
    (container.project / "configs/serve.yaml").write_text(
        "service: {drain_seconds: 600, shutdown_seconds: 600}\nlimits: {deadline_seconds: 600}\n"
    )
    program = (
        "from inference.sagemaker import read_settings, Path\n"
        f"settings = read_settings(Path({str(container.base)!r}), ['serve'])\n"
        "service = settings.service\n"
        "print(service.drain_seconds + service.shutdown_seconds, settings.limits.deadline_seconds)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=container.project,
        capture_output=True,
        text=True,
        check=True,
    )
    end, deadline = map(float, done.stdout.split())
    assert end <= 28 and deadline == 60

    service = container.start("serve", "--service.drain_seconds", "1.5").wait_until_ready()
    with ThreadPoolExecutor() as pool:
        body = b'{"inputs": ["sleep 1.5"]}'
        slow = pool.submit(service.request, "POST", "/invocations", body, JSON)
        at_work(container.model / "computed.log", "sleep 1.5")
        service.process.send_signal(signal.SIGTERM)
        wait_until(lambda: service.get("/ping").status == 503)
        assert slow.result().status == 200
    assert service.process.wait(timeout=20) == 0


def broken(container: Container) -> None:
    container.put_model()
    (container.model / "broken").touch()


def two(container: Container) -> None:
    container.put_model("first")
    container.put_model("second")


FAILURES: dict[str, Any] = {
    "no model": (lambda container: None, 2, "holds no model"),
    "several models": (two, 2, "several models (first, second)"),
    "broken model": (broken, 1, "the weights are cut short"),
}


@pytest.mark.parametrize("prepare, code, words", FAILURES.values(), ids=FAILURES)
def test_why_it_did_not_start_is_in_output_failure(
    container: Container, prepare: Any, code: int, words: str
) -> None:
    prepare(container)
    service = container.start()
    assert service.process.wait(timeout=30) == code
    failure = (container.base / "output/failure").read_text("utf-8")
    assert words in failure and failure.count("\n") == 1
    log = service.log.read_text("utf-8")
    assert log.splitlines()[-1] == f"error: {failure.strip()}" and "Traceback" not in log


def test_another_argument_than_serve_is_refused(container: Container) -> None:
    service = container.start("train")
    assert service.process.wait(timeout=30) == 2
    assert "`serve`" in service.log.read_text("utf-8")
