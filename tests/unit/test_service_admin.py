"""Changing the model of a running service, over real HTTP and with a stub in its place."""

from __future__ import annotations

import http.client
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from serving import CANARY, Reply, Service, Start, at_work, starter, wait_until

pytestmark = pytest.mark.unit

ADMIN_KEY = "aDm1n-of-this-service"  # pragma: allowlist secret
API_KEY = "caLLer-of-this-service"  # pragma: allowlist secret
BOTH_KEYS = {"API_KEYS": API_KEY, "ADMIN_KEYS": ADMIN_KEY}
ADMIN = {"Authorization": f"Bearer {ADMIN_KEY}", "Content-Type": "application/json"}


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    yield from starter(tmp_path, "text_classification")


@pytest.fixture
def second(start: Start, tmp_path: Path) -> str:
    """Another model, of version 2."""
    return another(tmp_path, "second", "2")


def another(tmp_path: Path, name: str, version: str) -> str:
    folder = tmp_path / "project/models" / name / "final"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "version").write_text(version)
    return f"models/{name}/final"


def admin(service: Service, action: str, **body: Any) -> Reply:
    content = json.dumps(body).encode() if body else None
    return service.request("POST", f"/admin/{action}", content, ADMIN)


def version(service: Service) -> str:
    return str(service.predict("one").body["model"]["version"])


def test_reload_and_rollback(start: Start, second: str) -> None:
    service = start(ADMIN_KEYS=ADMIN_KEY).wait_until_ready()
    reply = admin(service, "reload", model=second)
    assert (reply.status, reply.body["model"]["version"]) == (200, "2")
    assert reply.body["previous"]["version"] == "0123456789ab"
    answer = service.predict("one")
    assert answer.body["model"]["version"] == answer.headers["x-model-version"] == "2"
    assert service.get("/readyz").body["model"]["digest"] == "sha256:2"
    assert service.metric("inference_model_info", version="2") == 1
    assert service.metric("inference_model_info", version="0123456789ab") == 0

    assert admin(service, "rollback").body["model"]["version"] == "0123456789ab"
    assert version(service) == "0123456789ab"
    assert admin(service, "rollback").body["model"]["version"] == "2"  # and forth again
    served = service.request("GET", "/admin/model", None, ADMIN).body
    assert [served[key]["version"] for key in ("model", "previous")] == ["2", "0123456789ab"]


def test_numbers_of_a_model_that_was_closed_are_dropped(start: Start, second: str) -> None:
    settings = ("--limits.deadline_seconds", "0.2", "--service.keep_previous", "false")
    service = start(*settings, ADMIN_KEYS=ADMIN_KEY).wait_until_ready()
    first = {"version": "0123456789ab"}
    assert service.metric("inference_batch_size_count", **first) >= 1
    assert admin(service, "reload", model=second).status == 200
    wait_until(lambda: not service.metric("inference_batch_size_count", **first))
    assert service.metric("inference_batch_size_count", version="2") >= 1


def test_reload_under_load_fails_no_request(start: Start, second: str) -> None:
    service = start(ADMIN_KEYS=ADMIN_KEY, STUB_BATCH_SECONDS="0.02", STUB_LOAD_SECONDS="0.3")
    service.wait_until_ready()
    answers: list[tuple[float, int, str]] = []
    changed: list[float] = []
    stop = False

    def client() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=20)
        while not stop:
            begun = time.monotonic()
            connection.request(
                "POST", "/v1/predict", b'{"inputs": ["a"]}', {"Content-Type": "application/json"}
            )
            response = connection.getresponse()
            body = json.loads(response.read())
            found = body["model"]["version"] if response.status == 200 else str(body)
            answers.append((begun, response.status, found))

    with ThreadPoolExecutor(8) as pool:
        clients = [pool.submit(client) for _ in range(8)]
        for model in (second, "models/a-run/final", second):
            assert admin(service, "reload", model=model).status == 200
            changed.append(time.monotonic())
            wait_until(lambda: answers and answers[-1][0] > changed[-1])
        stop = True
        for each in clients:
            each.result()
    assert {status for _, status, _ in answers} == {200}
    assert {name for _, _, name in answers} == {"0123456789ab", "2"}
    after = {name for begun, _, name in answers if begun > changed[-1]}
    assert after == {"2"}


def test_the_same_model_again_leaves_the_one_to_go_back_to(start: Start, second: str) -> None:
    service = start(ADMIN_KEYS=ADMIN_KEY).wait_until_ready()
    admin(service, "reload", model=second)
    again = admin(service, "reload")
    assert [again.body[key]["version"] for key in ("model", "previous")] == ["2", "0123456789ab"]


def test_a_model_that_answers_already_is_not_loaded_again(start: Start, tmp_path: Path) -> None:
    final = tmp_path / "project/models/a-run/final"
    copy = another(tmp_path, "copy", "0123456789ab")
    service = start(ADMIN_KEYS=ADMIN_KEY).wait_until_ready()
    for body in ({}, {"model": "models/a-run/final"}, {"model": copy}):
        assert admin(service, "reload", **body).body["changed"] is False
    assert not (tmp_path / "project" / copy / "loaded.log").exists()
    assert (final / "loaded.log").read_text() == "loaded\n"
    assert [line for line in service.lines() if line["message"] == "already serving"]

    (final / "labels.json").write_text("{}")  # the same weights with other settings
    assert admin(service, "reload", model="models/a-run/final").body["changed"] is True
    assert (final / "loaded.log").read_text() == "loaded\n" * 2


def test_request_in_hand_is_finished_by_the_model_that_began_it(
    start: Start, second: str, tmp_path: Path, computed: Path, free: Path
) -> None:
    third = another(tmp_path, "third", "3")
    service = start("--service.keep_previous", "false", ADMIN_KEYS=ADMIN_KEY).wait_until_ready()
    with ThreadPoolExecutor() as pool:
        slow = pool.submit(service.predict, "hold")
        at_work(computed, "hold")
        for model in (second, third):
            assert admin(service, "reload", model=model).status == 200
        assert not slow.done() and version(service) == "3"
        free.touch()
        assert slow.result().body["model"]["version"] == "0123456789ab"
    reply = admin(service, "rollback")
    assert (reply.status, reply.error["code"]) == (409, "no_previous_version")


def test_second_reload_at_the_same_time_is_409(start: Start, second: str, tmp_path: Path) -> None:
    service = start(ADMIN_KEYS=ADMIN_KEY).wait_until_ready()
    (held := tmp_path / "project" / second / "hold").touch()
    with ThreadPoolExecutor() as pool:
        first = pool.submit(admin, service, "reload", model=second)
        at_work(held.with_name("loaded.log"), "loaded")
        for action in ("reload", "rollback"):
            reply = admin(service, action)
            assert (reply.status, reply.error["code"]) == (409, "already_reloading")
        held.unlink()
        assert first.result().status == 200


def test_reload_while_the_first_model_loads_is_503(start: Start) -> None:
    service = start(ADMIN_KEYS=ADMIN_KEY, STUB_LOAD_SECONDS="2").wait_for_port()
    assert admin(service, "reload").error["code"] == "loading"


def test_model_that_cannot_serve_changes_nothing(start: Start, second: str, tmp_path: Path) -> None:
    service = start(ADMIN_KEYS=ADMIN_KEY).wait_until_ready()
    (tmp_path / "project" / second / "broken").touch()
    for model, reason in ((second, "cut short"), ("models/none", "no such folder")):
        reply = admin(service, "reload", model=model)
        assert (reply.status, reply.error["code"]) == (422, "reload_failed")
        assert reason in reply.error["message"] and reply.error["message"].endswith(".")
        assert version(service) == "0123456789ab"
    assert service.get("/readyz").status == 200
    assert admin(service, "rollback").status == 409


CANARIES: dict[str, dict[str, Any]] = {
    "not finite": {"inputs": ["nan"]},
    "unexpected failure": {"inputs": [f"break {CANARY}"]},
    "bad input": {"inputs": ["refuse"]},
    "another label": {"inputs": ["one"], "outputs": [{"label": CANARY}]},
    "another number": {"inputs": ["one"], "outputs": [{"score": 0.9}]},
}


@pytest.mark.parametrize("canary", CANARIES.values(), ids=CANARIES)
def test_model_that_fails_the_canary_never_serves(
    start: Start, tmp_path: Path, canary: dict[str, Any]
) -> None:
    (tmp_path / "project/canary.json").write_text(json.dumps(canary))
    service = start("--service.canary", "canary.json")
    assert service.process.wait(timeout=20) == 1
    log = service.log.read_text("utf-8")
    assert log.splitlines()[-1].startswith("error: ")
    assert "Traceback" not in log and CANARY not in log.splitlines()[-1]


def test_canary_that_is_answered_well_lets_the_model_serve(start: Start, tmp_path: Path) -> None:
    outputs = [{"label": "one", "score": 0.99, "scores": {"one": 1}}]
    canary = {"inputs": ["one"], "outputs": outputs, "tolerance": 0.02}
    (tmp_path / "project/canary.json").write_text(json.dumps(canary))
    service = start("--service.canary", "canary.json", ADMIN_KEYS=ADMIN_KEY).wait_until_ready()
    final = tmp_path / "project/models/a-run/final"
    (final / "config.json").write_text('{"other": 1}')  # the same files would not be loaded again
    assert admin(service, "reload").body["changed"] is True
    canary["outputs"] = [{"label": "two"}]  # read once: a typing error must not stop a service
    (tmp_path / "project/canary.json").write_text(json.dumps(canary))
    (final / "config.json").write_text('{"other": 2}')
    assert admin(service, "reload").body["changed"] is True


WRONG_CANARIES = {
    "no such file": (None, "No such file"),
    "no JSON": ("{", "not valid JSON"),
    "unknown key": ('{"inputs": ["a"], "canary-4711": 1}', "unknown key"),
    "one output for two inputs": ('{"inputs": ["a", "b"], "outputs": [{}]}', "for each"),
}


@pytest.mark.parametrize("content, words", WRONG_CANARIES.values(), ids=WRONG_CANARIES)
def test_canary_that_cannot_be_read_is_one_sentence(
    start: Start, tmp_path: Path, content: str | None, words: str
) -> None:
    if content:
        (tmp_path / "project/canary.json").write_text(content)
    service = start("--service.canary", "canary.json")
    assert service.process.wait(timeout=20) == 2
    (line,) = service.log.read_text("utf-8").splitlines()
    assert line.startswith("error: service.canary canary.json: ") and words in line
    assert CANARY not in line


def test_hangup_looks_the_model_up_again(start: Start, tmp_path: Path) -> None:
    service = start().wait_until_ready()
    final = tmp_path / "project/models/a-run/final"
    (final / "version").write_text("2")
    service.process.send_signal(signal.SIGHUP)
    wait_until(lambda: version(service) == "2")
    (final / "broken").touch()
    (final / "config.json").write_text('{"broken": true}')  # no longer the files that were loaded
    service.process.send_signal(signal.SIGHUP)
    wait_until(lambda: [x for x in service.lines() if "cut short" in x["message"]])
    assert version(service) == "2" and service.get("/readyz").status == 200


def test_a_key_sent_as_a_requests_id_is_not_logged(start: Start) -> None:
    service = start("--service.access_log", "true", API_KEYS=API_KEY).wait_until_ready()
    assert service.get("/no-such", **{"X-Request-ID": API_KEY}).status in (401, 404)
    # the line is written after the answer
    wait_until(lambda: any(line.get("request_id") == "***" for line in service.lines()))
    assert API_KEY not in service.log.read_text("utf-8")


def test_routes_exist_only_with_admin_keys(start: Start) -> None:
    service = start(API_KEYS=API_KEY).wait_until_ready()
    known = {"Authorization": f"Bearer {API_KEY}"}
    for path in ("reload", "rollback"):
        assert service.request("POST", f"/admin/{path}", b"{}", known).status == 404
    assert "/admin/reload" not in service.request("GET", "/openapi.json", None, known).body["paths"]


def test_admin_key_is_another_than_the_api_key(start: Start) -> None:
    service = start(API_KEYS=API_KEY, ADMIN_KEYS=f"{ADMIN_KEY}, {ADMIN_KEY}2").wait_until_ready()
    for headers in ({}, {"Authorization": f"Bearer {API_KEY}"}, {"X-API-Key": API_KEY}):
        for path in ("reload", "rollback", "model"):
            reply = service.request("POST", f"/admin/{path}", b"not even JSON", headers)
            assert (reply.status, reply.error["code"]) == (401, "unauthorized")
    assert service.post(b'{"inputs": ["a"]}', {"X-API-Key": API_KEY}).status == 200
    assert service.post(b'{"inputs": ["a"]}', ADMIN).status == 401
    for key in (ADMIN_KEY, f"{ADMIN_KEY}2"):
        assert service.request("GET", "/admin/model", None, {"X-API-Key": key}).status == 200


def test_bodies_and_keys_never_reach_the_log(start: Start, tmp_path: Path) -> None:
    service = start(
        *("--service.access_log", "true", "--service.log_level", "debug"),
        API_KEYS=API_KEY,
        ADMIN_KEYS=ADMIN_KEY,
    ).wait_until_ready()
    service.headers = {"Authorization": f"Bearer {API_KEY}"}
    admin(service, "reload", model=f"models/{CANARY}")
    admin(service, "reload", model=7, **{CANARY: CANARY})
    service.request("POST", "/admin/reload", CANARY.encode(), ADMIN)
    service.request("POST", "/admin/reload", b"{}", {"Authorization": f"Bearer {CANARY}"})
    for text in (CANARY, f"break {CANARY}", f"refuse {CANARY}", f"huge {CANARY}", f"nan {CANARY}"):
        service.predict(text)
    custom = {"X-Amzn-SageMaker-Custom-Attributes": CANARY, "X-API-Key": CANARY}
    service.post(f'{{"inputs": ["a"], "{CANARY}": 1}}'.encode(), custom)
    service.get(f"/openapi.json?{CANARY}", Authorization=f"Bearer {API_KEY}")
    assert admin(service, "reload").status == 200
    service.stop()
    log = service.log.read_text("utf-8")
    assert '"path": "/admin/reload"' in log
    for secret in (CANARY, API_KEY, ADMIN_KEY):
        assert secret not in log


def test_metrics_need_a_key_unless_opened_and_probes_never(start: Start) -> None:
    service = start(API_KEYS=API_KEY).wait_until_ready()
    opened = start("--service.open_metrics", "true", API_KEYS=API_KEY).wait_until_ready()
    assert service.get("/metrics").status == service.get("/v1/predict").status == 401
    assert service.get("/metrics", Authorization=f"bearer {API_KEY}").status == 200
    assert opened.get("/metrics").status == 200 and opened.get("/v1/predict").status == 401
    for path in ("/healthz", "/readyz", "/ping", "/", "/openapi.json"):
        assert service.get(path).status == 200


@pytest.mark.parametrize("keys", [{}, {"API_KEYS": API_KEY}, {"ADMIN_KEYS": ADMIN_KEY}, BOTH_KEYS])
def test_openapi_says_which_operations_need_which_key(start: Start, keys: dict[str, str]) -> None:
    service = start(**keys).wait_until_ready()
    document = service.get("/openapi.json").body
    schemes = document["components"].get("securitySchemes", {})
    operations = [
        (path, method.upper(), operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    assert ("/admin/model" in document["paths"]) == ("ADMIN_KEYS" in keys)
    used = set()
    for path, method, operation in operations:
        body = None if method == "GET" else b"{}"
        needs = operation.get("security", [])
        refused = service.request(method, path, body, {}).status == 401
        assert refused == bool(needs), (method, path)
        for (name,) in needs:
            used.add(name)
            key = keys[schemes[name]["description"].split()[-1].rstrip(".")]
            sent = {"Authorization": f"Bearer {key}"}
            if schemes[name]["type"] == "apiKey":
                sent = {schemes[name]["name"]: key}
            assert service.request(method, path, body, sent).status != 401, (name, path)
    assert used == set(schemes) and bool(schemes) == bool(keys)


PLACEHOLDERS = [
    *("my_project_development_your_key_here", "your-api-key-goes-here", "<put your key in here>"),
    *("changeme-changeme-changeme", "xxxxxxxxxxxxxxxxxxxxxxxx", "${API_KEYS_OF_THE_SERVICE}"),
    *("0123456789abcdef01", "aaaaaaaaaaaaaaaaaaaaaaaa", "example-key-for-the-docs", "too-short"),
]


def test_placeholders_and_short_keys_are_refused(start: Start, tmp_path: Path) -> None:
    program = f"""
from inference.auth import ConfigError, parse_admin_keys
assert parse_admin_keys(" {ADMIN_KEY} ,,{API_KEY}", ()) == ({ADMIN_KEY!r}, {API_KEY!r})
for text in {PLACEHOLDERS}:
    try:
        parse_admin_keys(f"{ADMIN_KEY},{{text}}", ())
    except ConfigError as error:
        assert str(error).startswith("ADMIN_KEYS ") and text not in str(error)
    else:
        raise AssertionError(text)
"""
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path / "project", check=True)
    service = start(API_KEYS=PLACEHOLDERS[0])
    assert service.process.wait(timeout=20) == 2
    (line,) = service.log.read_text("utf-8").splitlines()
    assert line.startswith("error: API_KEYS ") and PLACEHOLDERS[0] not in line


def test_one_key_for_both_is_refused(start: Start) -> None:
    service = start(API_KEYS=API_KEY, ADMIN_KEYS=f"{ADMIN_KEY},{API_KEY}")
    assert service.process.wait(timeout=20) == 2
    assert API_KEY not in service.log.read_text("utf-8")
