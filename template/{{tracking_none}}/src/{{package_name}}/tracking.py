"""No tracker was chosen for this project: metrics.jsonl and report.html hold the numbers.

`copier update` with another answer to the question of tracking brings W&B or MLflow.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Self

from .config import Config
from .errors import ConfigError
from .runs import Run


class Trackers:
    """None."""

    status = "failed"

    def log(self, values: dict[str, Any], step: int, say: Callable[[str], None]) -> None:
        """Do nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


def check(config: Config) -> None:
    """Raise ConfigError for any tracker."""
    for name in config.tracking.trackers:
        raise ConfigError(
            f"tracking.trackers: no tracker `{name}`: this project was made without any; "
            "choose some with `copier update`"
        )


def start_trackers(config: Config, run: Run, facts: Mapping[str, Any]) -> Trackers:
    """Return none."""
    return Trackers()
