"""A service of its own for a load test: `python -m inference` on a free port."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from ..project import UserError

START_SECONDS = 300.0
STOP_SECONDS = 60.0


class Served:
    """Started and ready on entering, stopped on leaving. Raises UserError where it cannot start."""

    def __init__(
        self,
        model: str | Path,
        folder: Path,
        arguments: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._log = folder / "service.log"
        root = Path(__file__).resolve().parents[2]
        command = [sys.executable, "-m", "inference", "--model", str(model)]
        command += ["--host", "127.0.0.1", "--port", "0", *arguments]
        keys = {"API_KEYS": os.environ.get("API_KEY", "")}
        with self._log.open("wb") as output:
            self.process = subprocess.Popen(
                command,
                cwd=root,
                env={**os.environ, **keys, **(environment or {})},
                stdout=output,
                stderr=output,
            )
        self.url = ""

    def __enter__(self) -> Self:
        end = time.monotonic() + START_SECONDS
        try:
            while not self._ready():
                if self.process.poll() is not None or time.monotonic() > end:
                    said = self._log.read_text("utf-8", errors="replace").strip().splitlines()
                    raise UserError(f"the service did not start: {said[-1] if said else 'no word'}")
                time.sleep(0.1)
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def _stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _ready(self) -> bool:
        if not self.url:
            for line in self._log.read_text("utf-8", errors="replace").splitlines(keepends=True):
                if line.startswith("{") and line[-1] == "\n":  # the last may be half written
                    fields = json.loads(line)
                    if "port" in fields:
                        self.url = f"http://127.0.0.1:{fields['port']}"
        if not self.url:
            return False
        try:
            with urllib.request.urlopen(f"{self.url}/readyz", timeout=10) as response:
                return response.status == 200
        except (urllib.error.URLError, OSError):
            return False
