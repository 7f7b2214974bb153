"""The service over real HTTP, with a stub in the place of the model and nothing else.

`starter` runs `python -m inference` as its users do. The stub's behaviour is in the input:
`sleep 0.5` takes that long, `hold` until there is a file `free` in the project's folder, `refuse`
is a bad input, `break` an unexpected failure, `memory` needs more than there is where it shares a
batch, `huge` always, `nan` has no score. A model is not loaded while its folder has a file `hold`.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2

from extensions.overlays import SHARED

TEMPLATE = Path(__file__).resolve().parents[1] / "template"
CANARY = "canary-4711"
IDENTITY = {"name": "stub", "version": "0123456789ab", "digest": "sha256:0123456789ab"}

STUB = """
import os, time
from pathlib import Path
from .errors import UserError

class Predictor:
    name, version, digest = "stub", "0123456789ab", "sha256:0123456789ab"
    DECODES = False

    @classmethod
    def load(cls, path, device="auto"):
        time.sleep(float(os.environ.get("STUB_LOAD_SECONDS", 0)))
        folder = Path(path)
        if (folder / "broken").exists():
            raise UserError("the weights are cut short; train again")
        stub = cls()
        if (folder / "version").exists():  # another version than the usual
            stub.version = (folder / "version").read_text()
            stub.digest = f"sha256:{stub.version}"
        stub.computed = folder / "computed.log"
        return stub

    def read(self, item, number, limit=None):
        if str(item).startswith("refuse"):
            raise UserError("the text is\\nempty; send some")
        return item

    def length(self, read):
        return len(str(read))

    def encode(self, reads):
        return reads

    def scores(self, encoded):
        texts = [str(each) for each in encoded]
        with self.computed.open("a") as file:
            file.write(f"{len(texts)} {' | '.join(texts)}\\n")
        time.sleep(float(os.environ.get("STUB_BATCH_SECONDS", 0)))
        for text in texts:
            if text.startswith("sleep"):
                time.sleep(float(text.split()[1]))
            while text.startswith("hold") and not Path("free").exists():
                time.sleep(0.01)
            if text.startswith("break"):
                raise RuntimeError(f"tensor trouble with {text}")
            if text.startswith("huge") or (text.startswith("memory") and len(texts) > 1):
                raise RuntimeError(f"CUDA out of memory with {text}")
        return texts

    def outputs(self, scores):
        return [self._output(text) for text in scores]

    def run(self, reads):
        return self.outputs(self.scores(self.encode(reads)))

    def predict(self, inputs, **options):
        return self.run([self.read(item, i) for i, item in enumerate(inputs, start=1)])

    def _output(self, text):
        score = float("nan") if text.startswith("nan") else 1.0
        return {"label": text, "score": score, "scores": {text: score}}
"""

LOADING = """
import time
from pathlib import Path
from .predictor import Predictor

def load_predictor(path, device="auto", threads=0):
    with Path(path, "loaded.log").open("a") as file:
        file.write("loaded\\n")
    while Path(path, "hold").exists():
        time.sleep(0.01)
    return Predictor.load(path, device)

def digest(path):
    version = Path(path, "version")
    return f"sha256:{version.read_text()}" if version.exists() else Predictor.digest
"""

# answers at once, with what it was asked
GENERATION_STUB = """
import asyncio
from .api import ModelInfo
from .errors import overloaded
from .project import UserError, load_predictor

def load_runner(path, settings, metrics):
    return Runner(load_predictor(path), settings.engine)

class Runner:
    def __init__(self, predictor, limits):
        self.predictor, self.limits = predictor, limits
        self.info = ModelInfo(name="stub", version=predictor.version, digest=predictor.digest)

    def waiting(self):
        return 0

    def stalled(self):
        return None

    async def predict(self, inputs, options, deadline):
        if len(inputs) > self.limits.max_streams + self.limits.max_waiting:
            raise overloaded()
        if options["max_new_tokens"] > self.limits.max_new_tokens:
            raise UserError("that is too long")
        reads = [self.predictor.read(item, i) for i, item in enumerate(inputs, start=1)]
        await asyncio.to_thread(self.predictor.scores, reads)
        return [
            {"text": f"{options['max_new_tokens']} {item}", "finish_reason": "stop",
             "prompt_tokens": 1, "completion_tokens": 1}
            for item in inputs
        ]

    def close(self):
        pass
"""


@dataclass
class Reply:
    """Status, headers (lower-case names) and body of an answer."""

    status: int
    headers: dict[str, str]
    body: Any

    @property
    def error(self) -> dict[str, str]:
        """What the service says went wrong, in its one form."""
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

    def metric(self, name: str, **labels: str) -> float:
        """Sum of a metric's samples that carry these labels; 0 where there is none."""
        total = 0.0
        for line in self.get("/metrics").body.decode().splitlines():
            sample, _, value = line.rpartition(" ")
            known = {f'{key}="{text}"' for key, text in labels.items()}
            its_name, _, its_labels = sample.rstrip("}").partition("{")
            if its_name == name and known <= set(its_labels.split(",")):
                total += float(value)
        return total

    def stop(self, sig: int = signal.SIGTERM) -> int:
        self.process.send_signal(sig)
        return self.process.wait(timeout=20)


def wait_until(found: Callable[[], Any], seconds: float = 20.0) -> Any:
    """Ask again and again; returns the first answer that is true."""
    end = time.monotonic() + seconds
    while not (value := found()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)
    return value


def at_work(log: Path, text: str) -> None:
    """Wait until a model's computed.log or loaded.log tells that the stub has begun this."""
    wait_until(lambda: log.exists() and text in log.read_text("utf-8"))


def assemble(folder: Path, task: str) -> Path:
    """Lay out the service as a project of this task has it; only the model is a stub."""
    chosen = {"any_serving", "serving_fastapi", f"task_{task}"}
    chosen |= {name for name, (key, values) in SHARED.items() if key == "task" and task in values}
    context = {**dict.fromkeys(chosen, "."), "package_name": "stubbed", "task": task}
    for source in sorted(TEMPLATE.rglob("*")):
        parts = source.relative_to(TEMPLATE).parts
        overlays = [part[2:-2] for part in parts if part.startswith("{{")]
        inner = [part for part in parts if not part.startswith("{{")]
        if source.is_dir() or not chosen.issuperset(overlays) or "__pycache__" in parts:
            continue
        if inner[0] == "inference" or (inner[0] == "configs" and "serving_fastapi" in overlays):
            target = folder.joinpath(*inner)
            target.parent.mkdir(parents=True, exist_ok=True)
            if target.suffix != ".jinja":
                shutil.copy(source, target)
            elif target.name != "requirements.txt.jinja":
                text = jinja2.Template(source.read_text("utf-8")).render(context)
                target.with_suffix("").write_text(text + "\n", "utf-8")
    if task in SHARED["generation_tasks"][1]:
        (folder / "inference/runner.py").write_text(GENERATION_STUB, "utf-8")

    package = folder / "stubbed"
    package.mkdir()
    for module in ("__init__", "charts", "credentials", "errors", "redaction", "settings"):
        shutil.copy(TEMPLATE / f"src/{{{{package_name}}}}/{module}.py", package)
    (package / "predictor.py").write_text(STUB, "utf-8")
    (package / "loading.py").write_text(LOADING, "utf-8")

    final = folder / "models/a-run/final"
    final.mkdir(parents=True)
    (final / "config.json").write_text("{}", "utf-8")
    return folder


Start = Callable[..., Service]


def starter(root: Path, task: str) -> Iterator[Start]:
    """Yield a function that starts services of one project; they end with the generator."""
    project = assemble(root / "project", task)
    running: list[Service] = []

    def start(*arguments: str, **environment: str) -> Service:
        log = root / f"log-{len(running)}.jsonl"
        arguments = ("--model", "models/a-run/final", "--port", "0", *arguments)
        with log.open("w") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "inference", *arguments],
                cwd=project,
                stdin=subprocess.DEVNULL,  # no terminal, in which SIGHUP means the end
                stdout=output,
                stderr=output,
                text=True,
                env={**os.environ, "API_KEYS": "", **environment},
            )
        running.append(Service(process, log))
        return running[-1]

    yield start
    for service in running:
        service.process.kill()
        service.process.wait()
