"""Secrets in every place where a user has them are in nothing that a project writes or says.

One project with both trackers and the service goes through its commands and their failures, with
a different secret in each source; then everything it wrote and printed is searched.
"""

from __future__ import annotations

import base64
import json
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

import canaries
import helpers
from local_http import listening
from projects import Installed
from serving_projects import Lent, serving

pytestmark = pytest.mark.run

# letters that no hash and no encoding makes by chance; W&B wants 40 of hexadecimal
SECRETS = {
    "HF_TOKEN": "hf_KanarienHubvogelQwRtZuIoP",  # pragma: allowlist secret
    "WANDB_API_KEY": "c0ffeec0dedeadbea7edfacadeabadbabeca5cad",  # pragma: allowlist secret
    "MLFLOW_TRACKING_PASSWORD": "Kanarie/Mlflow+Wachtwoord",  # pragma: allowlist secret
    "MLFLOW_TRACKING_TOKEN": "KanarieMlflowTokenAsDfGh",  # pragma: allowlist secret
    "AWS_SECRET_ACCESS_KEY": "Kanarie/Amazone+GeheimYxCv",  # pragma: allowlist secret
    "GITHUB_TOKEN": "ghp_KanarieOktopusBnMqWeRt",  # pragma: allowlist secret
    "API_KEYS": "KanarieDienst-jKlYxCvB,KanarieZweit-qAyWsXeD",  # pragma: allowlist secret
    "ADMIN_KEYS": "KanarieMeister-pOiUzTrE",  # pragma: allowlist secret
    "OTEL_EXPORTER_OTLP_HEADERS": "authorization=Basic KanarieSpurMnBvCxY",
    "address": "KanarieAdresse-lKjHgFd",
    "command line": "KanarieBefehl-zTrEwQa",
    ".env": "KanarieUmgebung-tGbZhNu",
}
API_KEY, ADMIN_KEY = SECRETS["API_KEYS"].split(",")[1], SECRETS["ADMIN_KEYS"]
WITH_PASSWORD = f"http://me:{SECRETS['address']}@127.0.0.1:9"
SMOKE = ("--config", "configs/smoke.yaml")
BOTH = ("--tracking.trackers", "[wandb, mlflow]", "--tracking.finish_seconds", "20")


class Project:
    """A project in a shell with secrets; what its commands say is kept."""

    def __init__(self, installed: Installed, spoken: Path) -> None:
        self.installed, self.spoken = installed, spoken
        self.root = installed.root
        self.environment = {
            **installed.environment,
            **{name: secret for name, secret in SECRETS.items() if name.isupper()},
        }
        spoken.mkdir()

    def run(self, *command: str, code: int | None = 0, **variables: str) -> str:
        """Run a command, expect this exit code (None: any failure), and return its words."""
        done = subprocess.run(
            command,
            cwd=self.root,
            env={**self.environment, **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=300,
        )
        assert (done.returncode == code) if code is not None else done.returncode, done.stdout
        self.keep(done.stdout)
        return done.stdout

    def script(self, name: str, *words: str, code: int | None = 0, **variables: str) -> str:
        return self.run(*self.installed.script(name, *words), code=code, **variables)

    def keep(self, said: str) -> None:
        (self.spoken / f"{len(list(self.spoken.iterdir())):03}.txt").write_text(said, "utf-8")


@pytest.fixture(scope="module")
def project(environment: Path, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A classifier with all that can keep or send something."""
    folder = tmp_path_factory.mktemp("secrets")
    answers: dict[str, Any] = {
        "task": "text_classification",
        "base_model": "scratch",
        "strategy": "full",
    }
    root = helpers.copy_project(
        folder / "project", tracking=["wandb", "mlflow"], serving=["fastapi", "onnx"], **answers
    )
    (root / ".venv").symlink_to(environment)
    (root / ".env").write_text(f"SERVICE_PASSWORD={SECRETS['.env']}\n", "utf-8")
    return Project(Lent(root, "text_classification"), folder / "spoken")


@contextmanager
def echo_server() -> Iterator[str]:
    """A hub, tracker or collector that refuses every key, and says in its answer which it got."""

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            self.rfile.read(length)
            shown = self.headers.get("Authorization", "none")
            if shown.startswith("Basic "):
                shown += base64.b64decode(shown[6:]).decode(errors="replace")
            body = json.dumps({"error_code": "PERMISSION_DENIED", "message": f"no {shown}"})
            self.send_response(401)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        do_GET = do_POST = do_PUT = do_PATCH = do_HEAD = answer  # noqa: N815

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    with listening(Handler) as address:
        yield address


def use(project: Project) -> None:
    """What a user does on a day when all goes well."""
    project.script("prepare_data", "data/sample/train.csv", "--config", "configs/train.yaml")
    # W&B offline, MLflow in its database
    project.script("train", *SMOKE, *BOTH, "--tracking.log_model", "true", WANDB_MODE="offline")
    for name in ("evaluate", "export", "predict"):
        words = ["where is my invoice"] if name == "predict" else []
        project.script(name, "--model", "models/smoke/final", *words)
    project.script("export", "--model", "models/smoke/final", "--format", "onnx")
    for words in (["register", "models/smoke/final"], ["list"]):
        project.script("registry", *words)
    project.script("report", "models/smoke")


def fail_with_bad_keys(project: Project) -> None:
    """Hub and trackers refuse the keys, and repeat them; addresses hold passwords."""
    with echo_server() as host:
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


def fail_in_the_middle(project: Project) -> None:
    """An exception that quotes its surroundings, and kill -9."""
    (package,) = (path for path in (project.root / "src").iterdir() if path.is_dir())
    data = package / "data.py"
    whole = data.read_text("utf-8")
    quoting = "import os as _os\nraise RuntimeError(f'cannot read {dict(_os.environ)}')\n"
    data.write_text(whole + quoting, "utf-8")
    try:
        said = project.script("train", *SMOKE, code=1)
    finally:
        data.write_text(whole, "utf-8")
    assert "RuntimeError: cannot read" in said and "***" in said

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
    names = ("API_KEYS", "ADMIN_KEYS", "HF_TOKEN", "OTEL_EXPORTER_OTLP_HEADERS")
    variables = {name: SECRETS[name] for name in names}
    with echo_server() as host:
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
            assert {200, 401, 404, 422} <= {status for status, _ in said}
            project.keep("\n".join(text for _, text in said))
            project.run(
                *(installed.python, "inference/loadtest.py", "--url", service.url),
                *("--duration", "1", "--concurrency", "1", "2", "--rate", "5", "10"),
                API_KEY=API_KEY,
            )
            time.sleep(6)  # the traces are sent every five seconds
            service.process.send_signal(signal.SIGTERM)
            assert service.process.wait(60) == 0
            project.keep(service.log.read_text("utf-8"))
    for variable in ("API_KEYS", "ADMIN_KEYS"):
        short = {variable: "Kanarie"}
        said_of = project.run(
            *(installed.python, "-m", "inference", "--model", "models/smoke/final"), code=2, **short
        )
        assert said_of.startswith(f"error: {variable} ") and "Kanarie" not in said_of


def ask(url: str, key: str | None = None, body: dict[str, object] | None = None) -> tuple[int, str]:
    headers = {"Content-Type": "application/json"}
    headers |= {"Authorization": f"Bearer {key}"} if key else {}
    data = json.dumps(body).encode() if body is not None else None
    try:
        with urllib.request.urlopen(
            urllib.request.Request(url, data, headers), timeout=60
        ) as answer:
            return answer.status, f"{answer.headers}{answer.read().decode()}"
    except urllib.error.HTTPError as error:
        return error.code, f"{error.headers}{error.read().decode()}"


def wait_until(found: Callable[[], object]) -> None:
    end = time.monotonic() + 120
    while not found():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.2)


@pytest.mark.parametrize(
    "act",
    [
        use,
        fail_with_bad_keys,
        fail_with_secrets_on_the_command_line,
        fail_in_the_middle,
        serve,
    ],
    ids=lambda act: act.__name__,
)
def test_no_secret_is_in_what_was_written_or_said(
    project: Project, act: Callable[[Project], None]
) -> None:
    act(project)
    (project.root / ".env").rename(project.root.parent / "dotenv")  # the one place it belongs
    searched = [project.spoken, *(p for p in project.root.iterdir() if not p.is_symlink())]
    each = {**SECRETS, "one API key": API_KEY}
    try:
        found = search(project, searched, each)
    finally:
        (project.root.parent / "dotenv").rename(project.root / ".env")
    assert found == []


def search(project: Project, folders: list[Path], secrets: dict[str, str]) -> list[list[str]]:
    """Search in the project's Python, which can read Parquet."""
    command = [project.installed.python, canaries.__file__, *map(str, folders)]
    done = subprocess.run(
        command, input=json.dumps(secrets), capture_output=True, text=True, check=True
    )
    found: list[list[str]] = json.loads(done.stdout)
    return found


def test_the_search_finds_what_is_hidden(project: Project, tmp_path: Path) -> None:
    """In each form and in each kind of file that the commands write."""
    secret = SECRETS["MLFLOW_TRACKING_PASSWORD"]
    plant = """
import base64, gzip, pickle, sqlite3, sys, urllib.parse, zipfile
import numpy, pyarrow, pyarrow.parquet, torch, safetensors.torch
folder, secret = sys.argv[1:]
def write(name, content):
    with open(f"{folder}/{name}", "wb") as file: file.write(content)
for shift in range(3):
    write(f"base64-{shift}", b"e30" + base64.b64encode(b"u" * shift + secret.encode() + b"zz"))
    write(f"url64-{shift}", base64.urlsafe_b64encode(b"u" * shift + secret.encode()))
write("url", f"?key={urllib.parse.quote(secret, safe='')}".encode())
write("text", f"key={secret}".encode())
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
    project.installed.python_code(plant, str(tmp_path), secret)
    found = search(project, [tmp_path], {"x": secret})
    files = {Path(path).name for _, path, _ in found}
    planted = {path.name for path in tmp_path.iterdir() if path.is_file()}
    assert len(planted) == 16 and planted <= files
    assert any(name.endswith(".wandb") for name in files)
