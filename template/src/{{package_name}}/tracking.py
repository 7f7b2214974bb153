"""Where metrics go besides metrics.jsonl: one small interface, any number of trackers.

A tracker is a module `track_<name>.py` in this package with
`start(config, run_dir) -> Tracker`. A tracker that fails is reported once and dropped:
it never stops training.
"""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from .config import Config
from .errors import ConfigError

_PREFIX = "track_"


class Tracker(Protocol):
    """What a tracker can do."""

    def log(self, values: dict[str, Any], step: int) -> None:
        """Record the numbers of one step."""

    def finish(self, status: str) -> None:
        """Close the run: `done`, `stopped` or `failed`."""


class Trackers:
    """All trackers of a run."""

    def __init__(self, config: Config, run_dir: Path, say: Callable[[str], None]) -> None:
        self._say = say
        self._trackers: dict[str, Tracker] = {}
        for name in config.tracking.trackers:
            module = importlib.import_module(f".{_PREFIX}{name}", __package__)
            self._guard(name, lambda: self._trackers.update({name: module.start(config, run_dir)}))  # noqa: B023

    def log(self, values: dict[str, Any], step: int) -> None:
        """Send one step's numbers to every tracker."""
        for name, tracker in list(self._trackers.items()):
            self._guard(name, lambda: tracker.log(values, step))  # noqa: B023

    def finish(self, status: str) -> None:
        """Close every tracker."""
        for name, tracker in list(self._trackers.items()):
            self._guard(name, lambda: tracker.finish(status))  # noqa: B023

    def _guard(self, name: str, action: Callable[[], None]) -> None:
        try:
            action()
        except Exception as error:  # a tracker's outage, of whatever kind, must not end the run
            self._trackers.pop(name, None)
            self._say(f"warning: tracker {name} failed ({type(error).__name__}) and is off")


def refuse_unknown(config: Config) -> None:
    """Raise ConfigError for a tracker that this project does not have."""
    for name in config.tracking.trackers:
        if name not in available():
            known = ", ".join(available()) or "none in this project"
            raise ConfigError(f"tracking.trackers: no tracker `{name}` ({known})")


def available() -> list[str]:
    """Names of the trackers this project has."""
    package = importlib.util.find_spec(__package__ or "")
    locations = package.submodule_search_locations if package else None
    modules = pkgutil.iter_modules(list(locations or []))
    return sorted(m.name.removeprefix(_PREFIX) for m in modules if m.name.startswith(_PREFIX))
