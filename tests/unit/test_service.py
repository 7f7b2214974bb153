"""The service over real HTTP, with a stub in the place of the model and nothing else.

Each test runs `python -m inference` as its users do. The stub's behaviour is in the input:
`sleep 0.5` takes that long, `refuse` is a bad input, `break` an unexpected failure.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.unit

TEMPLATE = Path(__file__).resolve().parents[2] / "template"
SERVICE = TEMPLATE / "{{serving_fastapi}}"
CANARY = "canary-4711"

STUB = """
import os, time
from pathlib import Path
from .errors import UserError

class Predictor:
    name, version = "stub", "0123456789ab"

    @classmethod
    def load(cls, path, device="auto"):
        time.sleep(float(os.environ.get("STUB_LOAD_SECONDS", 0)))
        if (Path(path) / "broken").exists():
            raise UserError("the weights are cut short; train again")
        return cls()

    def predict(self, inputs, **options):
        return [self._one(str(each), options) for each in inputs]

    def _one(self, text, options):
        if text.startswith("sleep"):
            time.sleep(float(text.split()[1]))
        if text.startswith("refuse"):
            raise UserError("the text is\\nempty; send some")
        if text.startswith("break"):
            raise RuntimeError(f"tensor trouble with {text}")
        if os.environ["STUB_TASK"] == "llm":
            return {"text": f"{options['max_new_tokens']} {text}", "finish_reason": "stop",
                    "prompt_tokens": 1, "completion_tokens": 1}
        return {"label": text, "score": 1.0, "scores": {text: 1.0}}
"""


@dataclass
class Reply:
    """Status, headers (lower-case names) and body of an answer."""

    status: int
    headers: dict[str, str]
    body: Any

    @property
    def error(self) -> dict[str, str]:
        assert set(self.body) == {"error"} and set(self.body["error"]) == {"code", "message"}
        return dict(self.body["error"])


@dataclass
class Service:
    """A running `python -m inference`."""

    process: subprocess.Popen[str]
    log: Path
    port: int = 0
    headers: dict[str, str] = field(default_factory=dict)

    def wait_for_port(self) -> Service:
        self.port = wait_until(lambda: next((x["port"] for x in self.lines() if "port" in x), 0))
        return self

    def lines(self) -> list[dict[str, Any]]:
        """The log, each line of which is JSON."""
        assert self.process.poll() is None or self.port, self.log.read_text("utf-8")
        return [
            json.loads(line)
            for line in self.log.read_text("utf-8").splitlines(True)
            if line[-1] == "\n"
        ]

    def wait_until_ready(self) -> Service:
        self.wait_for_port()
        wait_until(lambda: self.get("/readyz").status == 200)
        return self

    def get(self, path: str, **headers: str) -> Reply:
        return self.request("GET", path, None, headers)

    def predict(self, *inputs: Any, **extra: Any) -> Reply:
        return self.post(json.dumps({"inputs": list(inputs), **extra}).encode())

    def post(self, body: bytes, headers: dict[str, str] | None = None) -> Reply:
        headers = {"Content-Type": "application/json", **self.headers, **(headers or {})}
        return self.request("POST", "/v1/predict", body, headers)

    def request(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> Reply:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            text = response.read()
            return Reply(
                response.status,
                {name.lower(): value for name, value in response.getheaders()},
                json.loads(text) if text.startswith(b"{") else text,
            )
        finally:
            connection.close()

    def stop(self, sig: int = signal.SIGTERM) -> int:
        self.process.send_signal(sig)
        return self.process.wait(timeout=20)


def wait_until(found: Callable[[], Any], seconds: float = 20.0) -> Any:
    end = time.monotonic() + seconds
    while not (value := found()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)
    return value


def assemble(folder: Path, task: str) -> Path:
    """Lay out the service as a project has it; only the predictor is a stub."""
    shutil.copytree(SERVICE / "inference", folder / "inference")
    shutil.copytree(
        SERVICE / f"{{{{task_{task}}}}}/inference", folder / "inference", dirs_exist_ok=True
    )
    shutil.copytree(SERVICE / "configs", folder / "configs")
    template = folder / "inference/project.py.jinja"
    text = template.read_text("utf-8").replace("{{ package_name }}", "stubbed")
    template.with_suffix("").write_text(text, "utf-8")

    package = folder / "stubbed"
    package.mkdir()
    for module in ("__init__", "errors", "settings"):
        shutil.copy(TEMPLATE / f"src/{{{{package_name}}}}/{module}.py", package)
    (package / "predictor.py").write_text(STUB, "utf-8")

    final = folder / "models/a-run/final"
    final.mkdir(parents=True)
    (final / "config.json").write_text("{}", "utf-8")
    return folder


Start = Callable[..., Service]


def starter(root: Path, task: str) -> Iterator[Start]:
    project = assemble(root / "project", task)
    running: list[Service] = []

    def start(*arguments: str, **environment: str) -> Service:
        log = root / f"log-{len(running)}.jsonl"
        arguments = ("--model", "models/a-run/final", "--port", "0", *arguments)
        with log.open("w") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "inference", *arguments],
                cwd=project,
                stdout=output,
                stderr=output,
                text=True,
                env={**os.environ, "STUB_TASK": task, "API_KEYS": "", **environment},
            )
        running.append(Service(process, log))
        return running[-1]

    yield start
    for service in running:
        service.process.kill()
        service.process.wait()


@pytest.fixture(scope="module", params=["llm", "text_classification"])
def service(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """One service of each task for the tests that only ask."""
    for start in starter(tmp_path_factory.mktemp("service"), request.param):
        yield start(
            "--service.access_log", "true", "--limits.max_body_bytes", "4000"
        ).wait_until_ready()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a service of one's own."""
    yield from starter(tmp_path, "text_classification")


def test_predicts_in_order_and_names_the_model(service: Service) -> None:
    reply = service.predict("one", "two")
    assert reply.status == 200
    assert reply.body["model"] == {"name": "stub", "version": "0123456789ab"}
    first, second = (each.get("text") or each["label"] for each in reply.body["outputs"])
    assert first.endswith("one") and second.endswith("two")


def test_openapi_examples_are_accepted(service: Service) -> None:
    schemas = service.get("/openapi.json").body["components"]["schemas"]
    (example,) = schemas["PredictRequest"]["examples"]
    assert service.post(json.dumps(example).encode()).status == 200
    assert schemas["PredictResponse"]["examples"]


MALFORMED = [
    b"",
    b"{",
    b'{"inputs": ["canary-4711"',
    b"\xff\xfe canary-4711",
    b"[" * 3000,
    b"9" * 3900,
    b"null",
    b"[]",
    b'"canary-4711"',
    b"{}",
    b'{"inputs": []}',
    b'{"inputs": "canary-4711"}',
    b'{"inputs": {"canary-4711": 1}}',
    b'{"inputs": [1]}',
    b'{"inputs": [null, "canary-4711"]}',
    b'{"inputs": [["canary-4711"]]}',
    b'{"inputs": [{"canary-4711": "canary-4711"}]}',
    b'{"inputs": ["a"], "canary-4711": 1}',
    b'{"inputs": ["a"], "options": {"canary-4711": 1}}',
    b'{"inputs": ["a"], "options": "canary-4711"}',
    b'{"inputs": ["\\ud800 canary-4711"]}',
    b'{"inputs": ["canary-4711", ""]}',
]


@pytest.mark.parametrize("body", MALFORMED, ids=lambda body: body[:24].decode("latin-1"))
def test_malformed_body_is_the_clients_error_and_is_not_repeated(
    service: Service, body: bytes
) -> None:
    reply = service.post(body)
    assert reply.status in (400, 422)
    message = reply.error["message"]
    assert message.endswith(".") and "\n" not in message and len(message) < 200
    assert CANARY not in json.dumps(reply.body)
    assert service.predict("still there").status == 200


def test_other_content_type_is_refused_with_the_remedy(service: Service) -> None:
    reply = service.post(b'{"inputs": ["a"]}', {"Content-Type": "text/plain"})
    assert reply.status == 422
    assert "application/json" in reply.error["message"]


def test_bad_input_is_answered_with_the_predictors_sentence(service: Service) -> None:
    reply = service.predict("fine", f"refuse {CANARY}")
    assert (reply.status, reply.error["code"]) == (422, "invalid_input")
    assert reply.error["message"] == "the text is empty; send some"


def test_unexpected_failure_tells_no_detail_and_logs_no_input(service: Service) -> None:
    reply = service.post(
        json.dumps({"inputs": [f"break {CANARY}"]}).encode(), {"X-Request-ID": "trace-me"}
    )
    assert (reply.status, reply.error["code"]) == (500, "internal_error")
    assert "tensor" not in json.dumps(reply.body) and "Traceback" not in json.dumps(reply.body)
    failed = [x for x in service.lines() if x.get("request_id") == "trace-me" and "exception" in x]
    assert [x["exception"] for x in failed] == ["RuntimeError"]
    assert any("predictor.py" in place for place in failed[0]["stack"])
    assert service.predict("still there").status == 200
    assert CANARY not in service.log.read_text("utf-8")


@pytest.mark.parametrize("given", ["abc-1.2_3", "a" * 128])
def test_request_id_is_passed_through(service: Service, given: str) -> None:
    assert service.get("/healthz", **{"X-Request-ID": given}).headers["x-request-id"] == given


@pytest.mark.parametrize("given", ["", "a b", '"}', "a" * 129])
def test_request_id_that_could_spoil_a_log_is_replaced(service: Service, given: str) -> None:
    assert len(service.get("/healthz", **{"X-Request-ID": given}).headers["x-request-id"]) == 32


def test_every_error_has_a_request_id_and_the_same_form(service: Service) -> None:
    for method, path, status in (("GET", "/no-such", 404), ("GET", "/v1/predict", 405)):
        reply = service.request(method, path, None, {})
        assert (reply.status, len(reply.headers["x-request-id"])) == (status, 32)
        assert reply.error["message"].endswith(".")


def test_access_log_has_the_route_but_not_a_strangers_path(service: Service) -> None:
    service.get(f"/{CANARY}?{CANARY}")
    service.predict("one")

    def logged() -> list[tuple[str, str, int]]:
        lines = [x for x in service.lines() if x["logger"] == "inference.access"]
        return [(x["method"], x["path"], x["status"]) for x in lines]

    wait_until(lambda: ("POST", "/v1/predict", 200) in logged() and ("GET", "-", 404) in logged())
    assert CANARY not in service.log.read_text("utf-8")


def test_oversize_body_is_413_whether_announced_or_not(service: Service) -> None:
    body = json.dumps({"inputs": ["a" * 3_000_000]}).encode()  # more than the sockets' buffers
    announced = service.post(body)
    assert (announced.status, announced.error["code"]) == (413, "body_too_large")
    assert announced.headers["x-request-id"]

    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=20)
    headers = {"Content-Type": "application/json", "Transfer-Encoding": "chunked"}
    pieces = (body[i : i + 10_000] for i in range(0, len(body), 10_000))
    connection.request("POST", "/v1/predict", pieces, headers, encode_chunked=True)
    response = connection.getresponse()
    assert response.status == 413
    assert json.loads(response.read())["error"]["code"] == "body_too_large"
    connection.close()


def test_client_that_asks_first_is_told_413_before_it_sends(service: Service) -> None:
    with socket.create_connection(("127.0.0.1", service.port), timeout=20) as client:
        client.sendall(
            b"POST /v1/predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Content-Length: 9999999\r\nExpect: 100-continue\r\n\r\n"
        )
        assert client.recv(4096).startswith(b"HTTP/1.1 413 ")


def test_too_many_and_too_long_inputs_are_refused_with_the_limit(start: Start) -> None:
    limits = ("--limits.max_inputs", "3", "--limits.max_input_characters", "10")
    service = start(*limits).wait_until_ready()
    assert service.predict("a", "b", "c" * 10).status == 200
    many, long = service.predict(*"abcd"), service.predict("a", CANARY)
    assert (many.status, many.error["code"]) == (422, "too_many_inputs")
    assert (long.status, long.error["code"]) == (422, "input_too_long")
    assert "3" in many.error["message"]
    assert "inputs[1]" in long.error["message"] and "10" in long.error["message"]


def test_llm_takes_chats_and_checks_options(tmp_path: Path) -> None:
    for start in starter(tmp_path, "llm"):
        service = start().wait_until_ready()
        chat = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hello"}]
        reply = service.predict(chat, "Hello", options={"max_new_tokens": 7})
        first, second = (output["text"] for output in reply.body["outputs"])
        assert first == f"7 {chat}" and second == "7 Hello"
        bad: dict[str, Any]
        for bad in (
            {"inputs": [[{"role": CANARY, "content": "x"}]]},
            {"inputs": [[{"role": "user"}]]},
            {"inputs": [[]]},
            {"inputs": ["x"], "options": {"max_new_tokens": 0}},
            {"inputs": ["x"], "options": {"temperature": "warm"}},
        ):
            refused = service.post(json.dumps(bad).encode())
            assert refused.status == 422 and CANARY not in refused.error["message"]


def test_alive_at_once_and_ready_only_after_loading(start: Start) -> None:
    service = start(STUB_LOAD_SECONDS="1").wait_for_port()
    assert service.get("/healthz").body == {"status": "ok"}
    for early in (service.get("/readyz"), service.predict("one")):
        assert (early.status, early.error["code"]) == (503, "loading")
        assert early.headers["retry-after"] == "1"
    service.wait_until_ready()
    assert service.get("/readyz").body["model"] == {"name": "stub", "version": "0123456789ab"}


def test_health_answers_while_the_model_is_busy(start: Start) -> None:
    service = start().wait_until_ready()
    with ThreadPoolExecutor() as pool:
        slow = pool.submit(service.predict, "sleep 1.5")
        time.sleep(0.3)
        begun = time.monotonic()
        assert service.get("/healthz").status == service.get("/readyz").status == 200
        assert time.monotonic() - begun < 0.8 and not slow.done()
        assert slow.result().status == 200


def test_full_line_says_come_back_later(start: Start) -> None:
    service = start("--limits.max_waiting_requests", "2").wait_until_ready()
    with ThreadPoolExecutor(12) as pool:
        replies = list(pool.map(lambda _: service.predict("sleep 0.6"), range(12)))
    assert [r.status for r in replies].count(200) == 3  # one at work and two waiting
    turned_away = [r for r in replies if r.status != 200]
    assert {(r.status, r.error["code"]) for r in turned_away} == {(503, "overloaded")}
    assert all(1 <= int(r.headers["retry-after"]) <= 60 for r in turned_away)
    assert service.predict("one").status == 200


def test_sigterm_under_load_loses_no_request(start: Start) -> None:
    service = start(
        "--service.drain_seconds", "1", "--limits.max_waiting_requests", "100"
    ).wait_until_ready()
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
        time.sleep(1)
        service.process.send_signal(signal.SIGTERM)
        draining = wait_until(
            lambda: next((r for r in [service.get("/readyz")] if r.status == 503), None)
        )
        assert draining.error["code"] == "draining"
        assert service.get("/healthz").status == 200
        for each in clients:
            each.result(timeout=20)
    assert service.process.wait(timeout=20) == 0
    assert len(outcomes) > 20
    assert set(outcomes) == {"200"}


def test_slow_request_is_finished_after_sigterm(start: Start) -> None:
    service = start("--service.drain_seconds", "0").wait_until_ready()
    with ThreadPoolExecutor() as pool:
        slow = pool.submit(service.predict, "sleep 1.5")
        time.sleep(0.3)
        assert service.stop() == 0
        assert slow.result().status == 200


def test_sigterm_while_loading_ends_at_once(start: Start) -> None:
    service = start("--service.drain_seconds", "0", STUB_LOAD_SECONDS="60").wait_for_port()
    wait_until(lambda: service.get("/healthz").status == 200)
    begun = time.monotonic()
    assert service.stop() == 0
    assert time.monotonic() - begun < 5


def test_interrupt_stops_without_a_wait(start: Start) -> None:
    service = start("--service.drain_seconds", "60").wait_until_ready()
    assert service.stop(signal.SIGINT) == 0


def test_api_key_is_needed_but_not_by_probes(start: Start) -> None:
    service = start(API_KEYS="first-key, second-key").wait_until_ready()
    assert service.get("/healthz").status == 200
    good = {"Authorization": "Bearer second-key"}
    bad = [
        {},
        *(
            {"Authorization": a}
            for a in ("second-key", "Bearer", "Bearer first", "Basic first-key", "Bearer \xe9")
        ),
    ]
    assert service.post(b'{"inputs": ["a"]}', good).status == 200
    for headers in bad:
        reply = service.post(b"not even JSON", headers)
        assert (reply.status, reply.error["code"]) == (401, "unauthorized")
        assert reply.headers["www-authenticate"] == "Bearer"
    assert service.get("/docs").status == 401
    assert "second-key" not in service.log.read_text("utf-8")


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
    assert f"cannot listen on 127.0.0.1:{port}" in service.log.read_text("utf-8").splitlines()[-1]


def test_weights_that_do_not_load_end_the_process_with_the_sentence(
    start: Start, tmp_path: Path
) -> None:
    (tmp_path / "project/models/a-run/final/broken").touch()
    service = start()
    assert service.process.wait(timeout=20) == 1
    log = service.log.read_text("utf-8")
    assert log.splitlines()[-1] == "error: the weights are cut short; train again"
    assert "Traceback" not in log
