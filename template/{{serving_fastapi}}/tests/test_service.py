"""The service as its users meet it: a process, a port, and a model that really predicts."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from inference.api import EXAMPLE_REQUEST
from inference.project import load_predictor

ROOT = Path(__file__).resolve().parents[1]


class Service:
    """`python -m inference` on a free port."""

    def __init__(self, model: Path, log: Path) -> None:
        self.log = log
        paths = [str(ROOT / "src"), str(ROOT), os.environ.get("PYTHONPATH", "")]
        environment = {**os.environ, "API_KEYS": "", "PYTHONPATH": os.pathsep.join(paths)}
        command = [sys.executable, "-m", "inference", "--model", str(model), "--port", "0"]
        with log.open("w") as output:
            self.process = subprocess.Popen(
                command, cwd=ROOT, env=environment, stdout=output, stderr=output
            )
        self.port = self._wait_for(lambda: self._logged("port"))

    def request(
        self, method: str, path: str, body: object = None, headers: dict[str, str] | None = None
    ) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        headers = {"Content-Type": "application/json", **(headers or {})}
        connection.request(method, path, json.dumps(body) if body else None, headers)
        response = connection.getresponse()
        answer = response.status, json.loads(response.read())
        connection.close()
        return answer

    def predict(self, inputs: list[Any], **extra: Any) -> tuple[int, Any]:
        return self.request("POST", "/v1/predict", {"inputs": inputs, **extra})

    def wait_until_ready(self) -> None:
        self._wait_for(lambda: self.request("GET", "/readyz")[0] == 200)

    def _logged(self, field: str) -> Any:
        lines = self.log.read_text("utf-8").splitlines(keepends=True)
        found = [json.loads(line) for line in lines if line.startswith("{") and line[-1] == "\n"]
        return next((line[field] for line in found if field in line), None)

    def _wait_for(self, found: Any, seconds: float = 120) -> Any:
        end = time.monotonic() + seconds
        while not (value := found()):
            assert self.process.poll() is None, self.log.read_text("utf-8")
            assert time.monotonic() < end, self.log.read_text("utf-8")
            time.sleep(0.05)
        return value


@pytest.fixture(scope="module")
def service(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A running service with the tiny model."""
    service = Service(tiny_run, tmp_path_factory.mktemp("service") / "log.jsonl")
    yield service
    service.process.kill()
    service.process.wait()


def test_becomes_ready_while_alive_from_the_start(service: Service) -> None:
    assert service.request("GET", "/healthz") == (200, {"status": "ok"})
    status, early = service.request("GET", "/readyz")
    assert (status, "error" in early) in {(503, True), (200, False)}
    service.wait_until_ready()


def test_predicts_what_the_predictor_predicts(service: Service, tiny_run: Path) -> None:
    service.wait_until_ready()
    predictor = load_predictor(tiny_run)
    options = EXAMPLE_REQUEST.get("options", {})
    status, answer = service.request("POST", "/v1/predict", EXAMPLE_REQUEST)
    assert status == 200
    assert answer["model"] == {
        "name": predictor.name,
        "version": predictor.version,
        "digest": predictor.digest,
    }
    expected = predictor.predict(EXAMPLE_REQUEST["inputs"], **options)
    assert _same(answer["outputs"], json.loads(json.dumps(expected)))


def test_bad_requests_are_refused_in_a_sentence(service: Service) -> None:
    service.wait_until_ready()
    for inputs in ([], [7], [""], ["x" * 30_000], ["x"] * 65):
        status, answer = service.predict(inputs)
        assert status == 422
        assert set(answer["error"]) == {"code", "message"}
    secret = "canary-7141"  # pragma: allowlist secret
    for body, sentence in (
        ({"inputs": []}, "inputs: give at least one input."),
        ({"inputs": secret}, 'inputs: send a list: {"inputs": [...]}.'),
        ({**EXAMPLE_REQUEST, secret: 1}, "unknown key in the body; known are inputs, options."),
    ):
        status, answer = service.request("POST", "/v1/predict", body)
        assert status == 422 and sentence in answer["error"]["message"]
        assert secret not in answer["error"]["message"]
    assert service.predict(EXAMPLE_REQUEST["inputs"][:1])[0] == 200


def test_answers_are_the_same_alone_and_in_company(service: Service) -> None:
    service.wait_until_ready()
    options = EXAMPLE_REQUEST.get("options", {})
    inputs = EXAMPLE_REQUEST["inputs"]
    alone = [service.predict([item], options=options)[1]["outputs"][0] for item in inputs]
    with ThreadPoolExecutor(16) as pool:
        asked = [
            (i, pool.submit(service.predict, [inputs[i]], options=options)) for i in (0, 1) * 8
        ]
        for i, future in asked:
            status, answer = future.result()
            assert status == 200
            assert _same(answer["outputs"][0], alone[i])


def test_answer_that_would_come_too_late_is_not_waited_for(service: Service) -> None:
    service.wait_until_ready()
    begun = time.monotonic()
    status, answer = service.request(
        "POST", "/v1/predict", EXAMPLE_REQUEST, {"X-Request-Timeout": "0.0001"}
    )
    assert (status, answer["error"]["code"]) == (503, "deadline_exceeded")
    assert time.monotonic() - begun < 30
    assert service.predict(EXAMPLE_REQUEST["inputs"][:1])[0] == 200


def test_missing_model_is_told_before_the_start(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=r"error: --model .*no such folder"):
        Service(tmp_path / "none", tmp_path / "log.txt")


def test_stops_cleanly(service: Service) -> None:  # the last one: it stops what the others use
    service.wait_until_ready()
    service.process.send_signal(signal.SIGTERM)
    assert service.process.wait(timeout=60) == 0


def _same(one: Any, other: Any) -> bool:
    """Whether two answers are equal; in floats another batch or thread count moves last digits."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return one == pytest.approx(other, abs=1e-4) if isinstance(one, float) else one == other
