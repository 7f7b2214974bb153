"""A project in a shell full of secrets, what it says there, and the search for them afterwards."""

from __future__ import annotations

import base64
import json
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import canaries
from local_http import listening
from projects import Installed

# Letters that no hash and no encoding makes by chance; W&B wants 40 of hexadecimal. Those with a
# name in capitals are variables of the shell.
SECRETS = {
    "HF_TOKEN": "hf_KanarienHubvogelQwRtZuIoP",  # pragma: allowlist secret
    "WANDB_API_KEY": "c0ffeec0dedeadbea7edfacadeabadbabeca5cad",  # pragma: allowlist secret
    "MLFLOW_TRACKING_PASSWORD": "Kanarie/Mlflow+Wachtwoord",  # pragma: allowlist secret
    "MLFLOW_TRACKING_TOKEN": "KanarieMlflowTokenAsDfGh",  # pragma: allowlist secret
    "AWS_SECRET_ACCESS_KEY": "Kanarie/Amazone+GeheimYxCv",  # pragma: allowlist secret
    "GITHUB_TOKEN": "ghp_KanarieOktopusBnMqWeRt",  # pragma: allowlist secret
    "API_KEYS": "KanarieDienst-jKlYxCvB,KanarieZweit-qAyWsXeD",  # pragma: allowlist secret
    "SERVICE_ACCOUNT_KEY": "Kan\"arie\\Bank'rekening\nKanarieRegel/Twee+Xy\n",
    "OTEL_EXPORTER_OTLP_HEADERS": "authorization=Basic KanarieSpurMnBvCxY",
    "address": "KanarieAdresse-lKjHgFd",
    "command line": "KanarieBefehl-zTrEwQa",
    ".env": "KanarieMeister-pOiUzTrE",
    "pasted": "hf_" + "KanarieGeplakt" + "QwErTzUiOpAsDfGhJkLy",  # known by its shape alone
    "hf auth login": "KanarieAanmelding-QwErTzUi",
    ".netrc": "KanarieNetrc-YxCvBnMaSd",
}
API_KEY, ADMIN_KEY = SECRETS["API_KEYS"].split(",")[1], SECRETS[".env"]
WITH_PASSWORD = f"http://me:{SECRETS['address']}@127.0.0.1:9"
SMOKE = ("--config", "configs/smoke.yaml")
BOTH = ("--tracking.trackers", "[wandb, mlflow]", "--tracking.finish_seconds", "20")


class Project:
    """A project in a shell with secrets; what its commands say is kept."""

    def __init__(self, installed: Installed, spoken: Path) -> None:
        self.installed, self.spoken = installed, spoken
        self.root = installed.root
        home = spoken.with_name("home")  # with the one place for what is in no variable
        home.mkdir()
        (home / "token").write_text(SECRETS["hf auth login"], "utf-8")
        login = f"machine host.example login me password {SECRETS['.netrc']}\n"
        (home / "netrc").write_text(login, "utf-8")
        (self.root / ".env").write_text(f"ADMIN_KEYS={ADMIN_KEY}\n", "utf-8")
        self.environment = {
            **installed.environment,
            **{name: secret for name, secret in SECRETS.items() if name.isupper()},
            "HF_TOKEN_PATH": str(home / "token"),
            "NETRC": str(home / "netrc"),
        }
        spoken.mkdir()

    def run(self, *command: str, code: int | None = 0, given: str = "", **variables: str) -> str:
        """Run a command, expect this exit code (None: any failure), and return its words."""
        done = subprocess.run(
            command,
            cwd=self.root,
            env={**self.environment, **variables},
            input=given,
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


@contextmanager
def echo_server() -> Iterator[tuple[str, list[str]]]:
    """A hub, tracker or collector that refuses every key, and says in its answer which it got.

    Yields host and port, and the paths that were asked for so far.
    """
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            asked.append(self.path)
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
        yield address, asked


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


def leaks(project: Project) -> list[list[str]]:
    """Secrets in what the project wrote and said so far."""
    dotenv = project.spoken.with_name("dotenv")
    (project.root / ".env").rename(dotenv)  # the one place where it belongs
    searched = [project.spoken, *(p for p in project.root.iterdir() if not p.is_symlink())]
    try:
        return search(project, searched, {**SECRETS, "one API key": API_KEY})
    finally:
        dotenv.rename(project.root / ".env")


def search(project: Project, folders: list[Path], secrets: dict[str, str]) -> list[list[str]]:
    """Search in the project's Python, which can read Parquet."""
    command = [project.installed.python, canaries.__file__, *map(str, folders)]
    done = subprocess.run(
        command, input=json.dumps(secrets), capture_output=True, text=True, check=True
    )
    found: list[list[str]] = json.loads(done.stdout)
    return found
