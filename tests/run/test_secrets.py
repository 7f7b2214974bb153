"""Secrets in every place where a user has them are in nothing that a project writes or says.

One project with both trackers and the service goes through its commands and their failures, with
a different secret in each source; then everything it wrote and printed is searched. Another one,
of the most different kind, goes through what the first has not.
"""

from __future__ import annotations

import base64
import json
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import helpers
from projects import tool_environment
from secret_shell import (
    ADMIN_KEY,
    API_KEY,
    BOTH,
    SECRETS,
    SMOKE,
    WITH_PASSWORD,
    Project,
    ask,
    echo_server,
    leaks,
    search,
    wait_until,
)
from serving_projects import Lent, serving

pytestmark = pytest.mark.run

# what a program does that breaks with all it knows in its words
QUOTING = "raise RuntimeError(f'cannot go on: {dict(__import__(\"os\").environ)}')\n"


def make(folder: Path, environment: Path, **answers: Any) -> Project:
    """A project in a shell with secrets."""
    root = helpers.copy_project(
        folder / "project", base_model="scratch", strategy="full", **answers
    )
    (root / ".venv").symlink_to(environment)
    return Project(Lent(root, answers["task"]), folder / "spoken")


@pytest.fixture(scope="module")
def project(environment: Path, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A classifier with all that can keep or send something."""
    return make(
        tmp_path_factory.mktemp("secrets"),
        environment,
        task="text_classification",
        tracking=["wandb", "mlflow"],
        serving=["fastapi", "onnx"],
    )


def use(project: Project) -> None:
    """What a user does on a day when all goes well."""
    project.script("prepare_data", "data/sample/train.csv", "--config", "configs/train.yaml")
    # W&B offline, MLflow in its database
    project.script("train", *SMOKE, *BOTH, "--tracking.log_model", "true", WANDB_MODE="offline")
    for name in ("evaluate", "predict"):
        words = ["where is my invoice"] if name == "predict" else []
        project.script(name, "--model", "models/smoke/final", *words)
    project.script("export", "--model", "models/smoke/final", "--format", "onnx")
    for words in (["register", "models/smoke/final"], ["list"]):
        project.script("registry", *words)
    project.script("report", "models/smoke")


def fail_with_bad_keys(project: Project) -> None:
    """Hub and trackers refuse the keys, and repeat them; addresses hold passwords."""
    with echo_server() as (host, _):
        addresses: dict[str, Any] = {
            "HF_ENDPOINT": f"http://{host}",
            "WANDB_BASE_URL": f"http://{host}",
            "MLFLOW_TRACKING_URI": f"http://me:{SECRETS['address']}@{host}",
        }
        hub: dict[str, Any] = {"HF_ENDPOINT": f"http://{host}", "HF_HUB_OFFLINE": "0"}
        refused = ("--train.output_dir", "models/refused")
        said = project.script("train", *SMOKE, *BOTH, *refused, **addresses)
        assert "mlflow could not start" in said and "no Basic ***" in said
        project.script("registry", "list", code=None, **addresses)
        project.script("train", *SMOKE, "--data.train", "someone/private", code=None, **hub)
        name = ("--model.name_or_path", "someone/private")
        project.script("train", *SMOKE, *name, code=None, **hub)
        project.script("predict", "--model", "someone/private", "a", code=None, **hub)
        project.script("train", *SMOKE, *name, code=None, **hub | {"HF_TOKEN": "not\x7fa token"})
    unreachable = ("--train.output_dir", "models/unreachable")
    variables: dict[str, Any] = {"MLFLOW_TRACKING_URI": WITH_PASSWORD, "HTTPS_PROXY": WITH_PASSWORD}
    project.script("train", *SMOKE, *BOTH, *unreachable, **variables)
    database = WITH_PASSWORD.replace("http", "postgresql")
    project.script("registry", "list", code=None, MLFLOW_TRACKING_URI=database)


def fail_with_secrets_on_the_command_line(project: Project) -> None:
    """Given where none belongs: refused, and not repeated."""
    secret = SECRETS["command line"]
    address = f"http://me:{secret}@127.0.0.1/a/b"
    for key, value in (
        ("tracking.servers", json.dumps({"mlflow": address})),
        ("tracking.servers", f"[{address}]"),
        ("tracking.run_name", address),
        ("tracking.project", f"for {API_KEY}"),
        ("tracking.project", SECRETS["pasted"]),
        ("tracking.run_name", f"[{SECRETS['hf auth login']}]"),
        ("tracking.run_name", SECRETS[".netrc"]),
        ("tracking.run_name", SECRETS["SERVICE_ACCOUNT_KEY"].splitlines()[1]),
        ("data.train", address),
        ("data.eval", address),
        ("model.name_or_path", address),
        ("model.revision", SECRETS["HF_TOKEN"]),
        ("train.output_dir", f"models/{SECRETS['HF_TOKEN']}"),
        ("train.learning_rate", SECRETS["WANDB_API_KEY"]),
        ("train.resume", address),
        ("token", secret),
    ):
        said = project.script("train", *SMOKE, f"--{key}={value}", code=2)
        assert key in said and "Traceback" not in said
    for words in (["--model", address, "a"], ["--key", secret]):
        project.script("predict", *words, code=2)
    for name in ("evaluate", "export"):
        project.script(name, "--model", address, code=2)
    (package,) = (path.name for path in (project.root / "src").iterdir() if path.is_dir())
    variable = f"{package.upper()}__TRACKING__SERVERS"
    project.script("train", *SMOKE, code=2, **{variable: json.dumps({"mlflow": address})})
    project.script("train", *SMOKE, code=2, **{variable: address})
    # cut where they are too long
    section = {f"{package.upper()}__TRACKING": json.dumps("." * 60 + SECRETS["pasted"])}
    assert "hf_Kan" not in project.script("train", *SMOKE, code=2, **section)
    several = f"http://me:{secret * 3}@a/b"
    assert "Kanarie" not in project.script("registry", "list", code=2, MODEL_REGISTRY=several)


def fail_in_the_middle(project: Project) -> None:
    """An exception that quotes its surroundings, and kill -9."""
    (package,) = (path for path in (project.root / "src").iterdir() if path.is_dir())
    data = package / "data.py"
    whole = data.read_text("utf-8")
    data.write_text(whole + QUOTING, "utf-8")
    try:
        said = project.script("train", *SMOKE, code=1)
    finally:
        data.write_text(whole, "utf-8")
    assert "RuntimeError: cannot go on: {" in said and "***" in said

    words = ("--train.output_dir", "models/killed", "--train.max_steps", "4000")
    command = project.installed.script("train", *SMOKE, *BOTH, *words, "--train.save_every", "5")
    environment = {**project.environment, "WANDB_MODE": "offline"}
    log = project.spoken / "killed.txt"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=project.root, env=environment, stdout=output, stderr=output
        )
    wait_until(lambda: len(project.installed.metrics("models/killed")) > 20)
    process.send_signal(signal.SIGKILL)
    assert process.wait(60) == -signal.SIGKILL
    assert list((project.root / "models/killed/checkpoints").iterdir())


def serve(project: Project) -> None:
    """Every path, answers and errors, with keys known and unknown, and the traces' collector."""
    installed = Lent(project.root, project.installed.task)
    names = ("API_KEYS", "HF_TOKEN", "OTEL_EXPORTER_OTLP_HEADERS")
    variables = {name: SECRETS[name] for name in names}  # and ADMIN_KEYS from .env
    with echo_server() as (host, asked):
        variables["OTEL_EXPORTER_OTLP_ENDPOINT"] = f"http://me:{SECRETS['address']}@{host}"
        with serving(installed, "--service.access_log", "true", **variables) as service:
            wait_until(lambda: ask(f"{service.url}/readyz")[0] == 200)
            said = []
            for path in ("/", "/healthz", "/readyz", "/metrics", "/openapi.json", "/docs", "/no"):
                for key in (API_KEY, ADMIN_KEY, None):
                    said.append(ask(service.url + path, key))
            bodies: list[dict[str, object]] = [
                {"inputs": ["hello"]},
                {"inputs": 1},
                {API_KEY: ADMIN_KEY},
            ]
            for body in bodies:
                for key in (API_KEY, SECRETS["HF_TOKEN"], None):
                    said.append(ask(f"{service.url}/v1/predict", key, body))
            for model in (WITH_PASSWORD, "models/smoke/final", f"models/{SECRETS['HF_TOKEN']}"):
                said.append(ask(f"{service.url}/admin/reload", ADMIN_KEY, {"model": model}))
            assert said[-2][0] == 200 and {401, 404, 422} <= {status for status, _ in said}
            project.keep("\n".join(text for _, text in said))
            project.run(
                *(installed.python, "inference/loadtest.py", "--url", service.url),
                *("--duration", "1", "--concurrency", "1", "2", "--rate", "5", "10"),
                API_KEY=API_KEY,
            )
            wait_until(lambda: "/v1/traces" in asked)
            service.process.send_signal(signal.SIGTERM)
            assert service.process.wait(60) == 0
            project.keep(service.log.read_text("utf-8"))
    for variable in ("API_KEYS", "ADMIN_KEYS"):
        short = {variable: "Kanarie"}
        said_of = project.run(
            *(installed.python, "-m", "inference", "--model", "models/smoke/final"), code=2, **short
        )
        assert said_of.startswith(f"error: {variable} ") and "Kanarie" not in said_of


def look_at_the_packages(project: Project) -> None:
    """The pinned tools themselves, in environments of their own; no service is asked."""
    path = tool_environment()["PATH"]
    assert "| torch | " in project.script("supply_chain", "licences", PATH=path)
    project.script("supply_chain", "sbom", PATH=path)
    parts = json.loads((project.root / "sbom.json").read_text("utf-8"))["components"]
    assert {"torch", "transformers"} <= {part["name"] for part in parts}


@pytest.mark.parametrize(
    "act",
    [
        use,
        fail_with_bad_keys,
        fail_with_secrets_on_the_command_line,
        fail_in_the_middle,
        serve,
        look_at_the_packages,
    ],
    ids=lambda act: act.__name__,
)
def test_no_secret_is_in_what_was_written_or_said(
    project: Project, act: Callable[[Project], None]
) -> None:
    act(project)
    assert leaks(project) == []


@pytest.fixture(scope="module")
def generating(environment: Path, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Answers about images, on two processes, as a service and as an endpoint.

    Training was done when the second process failed; an answer with the seed 4711 fails amid it.
    """
    project = make(
        tmp_path_factory.mktemp("generating"),
        environment,
        **{"task": "multimodal", "gpu": "A100-40GB", "gpu_count": 2, "parallelism": "ddp"},
        serving=["fastapi", "hf_endpoints"],
    )
    (package,) = (path for path in (project.root / "src").iterdir() if path.is_dir())
    training = package / "training.py"
    whole = training.read_text("utf-8")
    failing = """
_whole = _train
def _train(*arguments):
    result = _whole(*arguments)
    if __import__("os").environ["RANK"] == "1":
        """
    training.write_text(f"{whole}{failing}{QUOTING}    return result\n", "utf-8")
    said = project.script("launch", "--gpus", "2", "scripts/train.py", *SMOKE, code=1)
    assert "process 1 ended with 1:" in said and "RuntimeError: cannot go on: {" in said
    training.write_text(whole, "utf-8")
    with (package / "batched_generation.py").open("a", encoding="utf-8") as file:
        file.write(
            """
_next_token = _HandOver.__call__
def _fail(self, *arguments, **more):
    if self._rows[0].seed == 4711 and self._steps == 12:
        """
            + QUOTING
            + """
    return _next_token(self, *arguments, **more)
_HandOver.__call__ = _fail
"""
        )
    return project


# a BMP file of 8 by 8 pixels
PICTURE = (
    "Qk1eAAAAAAAAAD4AAAAoAAAACAAAAAgAAAABAAEAAAAAACAAAADEDgAAxA4AAAIAAAACAAAAAAAAAP///wAcAAAA"
    "PAAAADgAAAA4AAAAOAAAADgAAAAgAAAAGAAAAA=="
)
ELSEWHERE = f"https://me:{SECRETS['address']}@example.org/a.png"
ASKED = f"What has {SECRETS['command line']}?"


def answer(project: Project) -> None:
    """Whole and streamed, with failures before and amid the answer, and addresses of images."""
    variables = {name: SECRETS[name] for name in ("API_KEYS", "HF_TOKEN", "SERVICE_ACCOUNT_KEY")}
    allowing = ("--limits.allow_urls", "true", "--service.access_log", "true")
    with serving(project.installed, *allowing, **variables) as service:
        wait_until(lambda: ask(f"{service.url}/readyz")[0] == 200)
        said = []
        for image in (PICTURE, ELSEWHERE, f"file://{WITH_PASSWORD}", SECRETS["pasted"]):
            item = {"image": image, "text": ASKED}
            for seed in (1, 4711):
                body: dict[str, Any] = {
                    "inputs": [item],
                    "options": {"max_new_tokens": 20, "seed": seed},
                }
                said.append(ask(f"{service.url}/v1/predict", API_KEY, body))
                url = f"data:image/bmp;base64,{image}" if image == PICTURE else image
                parts: list[dict[str, Any]] = [{"type": "image_url", "image_url": {"url": url}}]
                parts.append({"type": "text", "text": ASKED})
                chat = {"messages": [{"role": "user", "content": parts}], "max_tokens": 20}
                for stream in (False, True):
                    body = {**chat, "seed": seed, "stream": stream}
                    said.append(ask(f"{service.url}/v1/chat/completions", API_KEY, body))
        said.append(ask(f"{service.url}/v1/chat/completions", SECRETS["HF_TOKEN"], body))
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(60) == 0
        project.keep(service.log.read_text("utf-8"))
    assert [status for status, _ in said[:6]] == [200, 200, 200, 500, 500, 200]
    assert "data: [DONE]" in said[2][1] and "internal_error" in said[5][1]
    assert {status for status, _ in said[6:]} == {401, 400, 422}
    project.keep("\n".join(text for _, text in said))


def answer_as_an_endpoint(project: Project) -> None:
    """In the folder that is uploaded, with its container's environment full of secrets."""
    project.script("export", "--model", "models/smoke/final", "--output", "models/smoke/export")
    project.script("endpoint", "--model", "models/smoke/export")
    lines = []
    for image in (PICTURE, ELSEWHERE):
        for seed in (1, 4711):
            body: dict[str, Any] = {"inputs": {"image": image, "text": ASKED}}
            body["parameters"] = {"max_new_tokens": 20, "seed": seed}
            lines.append(["application/json", in_base64(json.dumps(body))])
    lines.append(["application/json", in_base64(json.dumps({API_KEY: ASKED}))])
    lines.append(["text/plain", in_base64(ASKED)])
    folder = project.root / "models/smoke/endpoint"
    done = project.run(
        *(project.installed.python, "tests/endpoint_container.py", str(folder)),
        given="\n".join(map(json.dumps, lines)),
        PYTHONPATH="",
    )
    statuses = [json.loads(line)[0] for line in done.splitlines() if line.startswith("[")]
    assert statuses == [200, 400, 400, 400, 400, 400], done


def in_base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize("act", [answer, answer_as_an_endpoint], ids=lambda act: act.__name__)
def test_nor_where_text_is_generated(generating: Project, act: Callable[[Project], None]) -> None:
    act(generating)
    assert leaks(generating) == []


def test_the_search_finds_what_is_hidden(project: Project, tmp_path: Path) -> None:
    """In each form and in each kind of file that the commands write."""
    secret, key_file = SECRETS["MLFLOW_TRACKING_PASSWORD"], SECRETS["SERVICE_ACCOUNT_KEY"]
    plant = """
import base64, gzip, json, pickle, sqlite3, sys, urllib.parse, zipfile
import numpy, pyarrow, pyarrow.parquet, torch, safetensors.torch
folder, secret, key_file = sys.argv[1:]
def write(name, content):
    with open(f"{folder}/{name}", "wb") as file: file.write(content)
for shift in range(3):
    write(f"base64-{shift}", b"e30" + base64.b64encode(b"u" * shift + secret.encode() + b"zz"))
    write(f"url64-{shift}", base64.urlsafe_b64encode(b"u" * shift + secret.encode()))
write("url", f"?key={urllib.parse.quote(secret, safe='')}".encode())
write("text", f"key={secret}".encode())
write("key.json", json.dumps({"key": key_file}).encode())
write("key.repr", repr({"key": key_file}).encode())
write("key.line", key_file.splitlines()[1].encode())
write("a.json.gz", gzip.compress(secret.encode()))
write("pickle", pickle.dumps({"key": secret}))
torch.save({"key": secret}, f"{folder}/torch.pt")
numpy.savez_compressed(f"{folder}/numpy.npz", key=numpy.array([secret]))
safetensors.torch.save_file({"w": torch.zeros(1)}, f"{folder}/w.safetensors", {"key": secret})
table = pyarrow.table({"key": [secret] * 3})
pyarrow.parquet.write_table(table, f"{folder}/table.parquet", compression="zstd")
with sqlite3.connect(f"{folder}/rows.db") as database:
    database.execute("create table t (x)")
    database.execute("insert into t values (?)", ("." * 4050 + secret,))
with zipfile.ZipFile(f"{folder}/a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
    archive.writestr("inner.gz", gzip.compress(secret.encode()))
import wandb
run = wandb.init(mode="offline", dir=folder, settings=wandb.Settings(silent=True))
run.config.update({f"key{i}": "." * i * 37 + secret for i in range(60)})
run.finish()
"""
    project.installed.python_code(plant, str(tmp_path), secret, key_file)
    found = search(project, [tmp_path], {"x": secret, "y": key_file})
    files = {Path(path).name for _, path, _ in found}
    planted = {path.name for path in tmp_path.iterdir() if path.is_file()}
    assert len(planted) == 19 and planted <= files
    assert any(name.endswith(".wandb") for name in files)
