"""Where metrics go besides metrics.jsonl: one small interface, any number of trackers.

A tracker is a module `track_<name>.py` in this package with two functions: `check()`, which
raises ConfigError for what the user must mend before training, and `start(run) -> Tracker`.
Each works in a thread of its own, behind a queue of bounded length: training hands its numbers
over and never waits, whatever the network does.
"""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self

from .config import Config
from .errors import ConfigError
from .redaction import brief
from .runs import Run, read_json, write_json
from .settings import flat

QUEUE_SIZE = 1000  # logged lines that may wait for a slow tracker
FILES = ("config.yaml", "run.json", "metrics.jsonl", "report.html", "final/README.md")
_PREFIX = "track_"
_lock = threading.Lock()


@dataclass(frozen=True)
class TrackedRun:
    """What a tracker is told of a run."""

    folder: Path
    project: str
    name: str
    server: str | None
    id: str | None
    """The tracker's own name of the run that goes on; None for a new one."""
    settings: Mapping[str, Any]
    """The configuration, by dotted key."""
    facts: Mapping[str, Any]
    """What run.json says: data hash, commit, versions, device."""
    log_model: bool
    finish_seconds: float

    def files(self) -> list[Path]:
        """Small files of the run that are there by now."""
        return [path for name in FILES if (path := self.folder / name).is_file()]


class Tracker(Protocol):
    """What a tracker can do; each may raise anything and take any time."""

    id: str
    """By which the run is found again when it goes on."""
    where: str
    """Where a person finds it."""

    def log(self, values: Mapping[str, Any], step: int) -> None:
        """Record the numbers of one step."""

    def finish(self, status: str) -> None:
        """Close the run: `done`, `stopped` (to go on later) or `failed`."""


class Worker:
    """A tracker in its own thread; what goes wrong there becomes a line, never an exception."""

    def __init__(
        self, name: str, start: Callable[[], Tracker], keep: Callable[[str], None]
    ) -> None:
        self.name = name
        self.lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.lost = 0
        self._start, self._keep = start, keep
        self._status = "failed"
        self._off = False
        self._closing = threading.Event()
        self._queue: queue.Queue[tuple[dict[str, Any], int] | None] = queue.Queue(QUEUE_SIZE)
        # a daemon: the process ends even if a call to the network never does
        self._thread = threading.Thread(target=self._work, name=f"tracker-{name}", daemon=True)
        self._thread.start()

    def put(self, values: dict[str, Any], step: int) -> None:
        """Hand over one step's numbers; dropped and counted when too many wait."""
        if self._off:
            return
        try:
            self._queue.put_nowait((values, step))
        except queue.Full:
            self._lose(f"is too slow: {QUEUE_SIZE} lines wait, further ones are dropped")

    def close(self, status: str) -> None:
        """Ask the thread to send what waits and to end."""
        self._status = status
        self._closing.set()
        try:
            self._queue.put_nowait(None)
        except queue.Full:  # then it looks at the event
            pass

    def join(self, seconds: float) -> None:
        """Wait for the end; say what has not arrived."""
        self._thread.join(seconds)
        if self._thread.is_alive():
            waiting = self._queue.qsize()
            self._say(f"did not finish in time, {waiting} lines wait; metrics.jsonl has them all")
        elif self.lost:
            self._say(f"did not get {self.lost} lines; metrics.jsonl has them all")

    def _work(self) -> None:
        try:
            tracker = self._start()
            self._keep(tracker.id)
        except Exception as error:
            self._off = True
            self._say(f"could not start and is off: {_reason(error)}")
            return
        self.lines.put(tracker.where)
        while not (self._closing.is_set() and self._queue.empty()):
            item = self._queue.get()
            if item is None:
                break
            try:
                tracker.log(*item)
            except Exception as error:
                self._lose(f"fails, training goes on: {_reason(error)}")
        try:
            tracker.finish(self._status)
        except Exception as error:
            self._say(f"could not close the run: {_reason(error)}")

    def _lose(self, why: str) -> None:
        if not self.lost:  # one line, however long it lasts
            self._say(why)
        self.lost += 1

    def _say(self, text: str) -> None:
        self.lines.put(f"warning: tracker {self.name} {text}")


class Trackers:
    """All trackers of a run; none on the processes that are not the main one."""

    def __init__(self, workers: Sequence[Worker] = (), finish_seconds: float = 0.0) -> None:
        self._workers, self._finish_seconds = workers, finish_seconds
        self.status = "failed"

    def log(self, values: dict[str, Any], step: int, say: Callable[[str], None]) -> None:
        """Hand one step's numbers to every tracker, and `say` what they have to tell."""
        for worker in self._workers:
            worker.put(values, step)
        self._tell(say)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Close every tracker; they share `finish_seconds`."""
        for worker in self._workers:
            worker.close("failed" if kind else self.status)
        end = time.monotonic() + self._finish_seconds
        for worker in self._workers:
            worker.join(max(0.0, end - time.monotonic()))
        self._tell(print)

    def _tell(self, say: Callable[[str], None]) -> None:
        for worker in self._workers:
            while not worker.lines.empty():
                say(worker.lines.get())


def check(config: Config) -> None:
    """Raise ConfigError for a tracker that this project lacks, or that cannot work as it is set."""
    for name in {*config.tracking.trackers, *config.tracking.servers}:
        if name not in available():
            known = ", ".join(available()) or "none in this project"
            raise ConfigError(f"tracking: no tracker `{name}` ({known})")
    for name in config.tracking.trackers:
        _module(name).check()


def start_trackers(config: Config, run: Run, facts: Mapping[str, Any]) -> Trackers:
    """Start every configured tracker; a run that goes on goes on there too."""
    options = config.tracking
    known = read_json(run.path / "tracking.json") if run.checkpoint else {}

    def worker(name: str) -> Worker:
        tracked = TrackedRun(
            folder=run.path,
            project=options.project or __package__ or "training",
            name=options.run_name or run.path.name,
            server=options.servers.get(name),
            id=known.get(name),
            settings=flat(config.model_dump(mode="json")),
            facts=facts,
            log_model=options.log_model,
            finish_seconds=options.finish_seconds,
        )
        # the import too is left to the thread: it takes seconds
        return Worker(
            name, lambda: _module(name).start(tracked), lambda id: _keep(run.path, name, id)
        )

    if not run.checkpoint:
        (run.path / "tracking.json").unlink(missing_ok=True)
    return Trackers([worker(name) for name in options.trackers], options.finish_seconds)


def available() -> list[str]:
    """Names of the trackers this project has."""
    package = importlib.util.find_spec(__package__ or "")
    locations = package.submodule_search_locations if package else None
    modules = pkgutil.iter_modules(list(locations or []))
    return sorted(m.name.removeprefix(_PREFIX) for m in modules if m.name.startswith(_PREFIX))


def _module(name: str) -> Any:
    return importlib.import_module(f".{_PREFIX}{name}", __package__)


def _keep(folder: Path, name: str, run_id: str) -> None:
    with _lock:
        path = folder / "tracking.json"
        write_json(path, {**read_json(path), name: run_id})


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {brief(error, 300)}"
