"""The arms: how each is started on one core, asked, watched and stopped."""

from __future__ import annotations

import contextlib
import http.client
import json
import mmap
import os
import signal
import socket
import struct
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ARMS_FOLDER = HERE / "arms"
START_SECONDS = 120.0
STOP_SECONDS = 60.0


@dataclass(frozen=True)
class Arm:
    """One way to serve the model."""

    name: str
    script: str
    path: str = "/predict"
    form: str = "text"
    health: str = "/healthz"


OURS = Arm("this template", "ours.py", "/v1/predict", "ours")
NAIVE = Arm("FastAPI, plain def", "naive.py")
HAND = Arm("FastAPI, hand-written batcher", "handwritten.py")
LIT = Arm("LitServe, batched", "lit.py", health="/health")
BENTO = Arm("BentoML, batched", "bento.py", form="texts", health="/livez")
ARMS = {"ours": OURS, "naive": NAIVE, "hand": HAND, "lit": LIT, "bento": BENTO}


class Server:
    """An arm's process, pinned to core 0, answering."""

    def __init__(self, arm: Arm, python: Path, project: Path, model: Path, work: Path) -> None:
        self.arm = arm
        self._found: set[int] = set()
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self._count = work / "count.bin"
        self._count.write_bytes(bytes(16))
        command = ["taskset", "-c", "0", str(python), str(ARMS_FOLDER / arm.script)]
        if arm is BENTO:
            command = [*command[:4], "-m", "bentoml", "serve", "bento:Service"]
            command += ["--host", "127.0.0.1", "--port", str(self.port)]
            command += ["--working-dir", str(ARMS_FOLDER)]
        self._log = (work / "server.log").open("wb")
        self.process = subprocess.Popen(
            command,
            cwd=project if arm is OURS else work,
            env={**os.environ, **self._environment(project, model)},
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
        )

    def _environment(self, project: Path, model: Path) -> Mapping[str, str]:
        paths = [str(ARMS_FOLDER)]
        if self.arm is OURS:
            paths += [str(project), str(project / "src")]
        return {
            "BENCH_MODEL": str(model),
            "BENCH_PORT": str(self.port),
            "BENCH_COUNT": str(self._count),
            "BENTOML_DO_NOT_TRACK": "True",
            "HF_HUB_OFFLINE": "1",
            "OMP_NUM_THREADS": "1",
            "TOKENIZERS_PARALLELISM": "false",
            "PYTHONPATH": os.pathsep.join(paths),
        }

    def __enter__(self) -> Server:
        end = time.monotonic() + START_SECONDS
        while not self.answer("ready?"):
            if self.process.poll() is not None or time.monotonic() > end:
                self.stop()
                said = Path(self._log.name).read_text("utf-8", errors="replace")
                raise RuntimeError(f"{self.arm.name} did not start:\n{said[-3000:]}")
            time.sleep(0.2)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def answer(self, text: str) -> dict[str, Any] | None:
        """What the arm says to one text; None while it does not answer."""
        forms = {"ours": {"inputs": [text]}, "text": {"text": text}, "texts": {"texts": [text]}}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            headers = {"Content-Type": "application/json"}
            body = json.dumps(forms[self.arm.form])
            connection.request("POST", self.arm.path, body, headers)
            response = connection.getresponse()
            said = json.loads(response.read())
        except (OSError, ValueError, http.client.HTTPException):
            return None
        finally:
            connection.close()
        if response.status != 200:
            return None
        found = said["outputs"][0] if self.arm.form == "ours" else said
        found = found[0] if isinstance(found, list) else found
        assert isinstance(found, dict)
        return found

    def computed(self) -> tuple[int, int]:
        """Rows and batches that have gone through the model."""
        with self._count.open("rb") as file, mmap.mmap(file.fileno(), 16, prot=mmap.PROT_READ) as m:
            rows, batches = struct.unpack_from("<QQ", m, 0)
        return rows, batches

    def processes(self) -> list[int]:
        """All processes of the arm: LitServe and BentoML have several.

        Those of its session and their descendants, which may have sessions of their own; one that
        was found stays known when its parent has gone.
        """
        parents: dict[int, int] = {}
        alive: set[int] = set()
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = stat.read_text().rsplit(")", 1)[1].split()
            except (OSError, IndexError):
                continue
            pid = int(stat.parent.name)
            if fields[0] != "Z":
                alive.add(pid)
            parents[pid] = int(fields[1])
            if int(fields[3]) == self.process.pid:
                self._found.add(pid)
        while more := {pid for pid, up in parents.items() if up in self._found} - self._found:
            self._found |= more
        return sorted(self._found & alive)

    def processor_seconds(self) -> float:
        """What all its processes have used so far."""
        ticks = 0
        for pid in self.processes():
            try:
                fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def ends_within(self, seconds: float) -> bool:
        """Whether nothing of it runs any more after this time."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.process.poll() is not None and not self.processes():
                return True
            time.sleep(0.1)
        return False

    def memory_mib(self, key: str = "VmHWM") -> float:
        """Sum over its processes of the highest (VmHWM) or present (VmRSS) resident memory."""
        total = 0
        for pid in self.processes():
            try:
                lines = Path(f"/proc/{pid}/status").read_text().splitlines()
            except OSError:
                continue
            total += sum(int(line.split()[1]) for line in lines if line.startswith(f"{key}:"))
        return total / 1024

    def stop(self) -> None:
        """SIGTERM, then SIGKILL to what is left."""
        self.processes()
        self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(STOP_SECONDS)
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()
        self._log.close()
