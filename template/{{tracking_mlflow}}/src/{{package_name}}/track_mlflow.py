"""MLflow: a server by its address, else a SQLite file in models/."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .mlflow_client import SQLITE, connect, database, experiment, refuse_placeholders
from .tracking import TrackedRun

STATUS = {"done": "FINISHED", "stopped": "KILLED", "failed": "FAILED"}
PARAMETERS_A_CALL = 100  # MLflow takes no more
LONGEST_VALUE = 5000


def check() -> None:
    """Raise ConfigError for credentials that are still those of .env.example."""
    refuse_placeholders()


def start(run: TrackedRun) -> MlflowTracker:
    """Begin a run, or go on with one."""
    client = connect(run.server)
    run_id = _known(client, run.id) or _new(client, run)
    return MlflowTracker(client, run, run_id)


class MlflowTracker:
    """One run in MLflow."""

    def __init__(self, client: Any, run: TrackedRun, run_id: str) -> None:
        self._client, self._tracked = client, run
        self.id = run_id
        file = database(client)
        if file:
            shown = file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file
            show = f"uvx mlflow server --backend-store-uri {SQLITE}{shown.as_posix()}"
            self.where = f"mlflow: recorded in {shown}; look at it with: {show}"
        else:
            self.where = f"mlflow: run {run_id} in the experiment {run.project}"

    def log(self, values: Mapping[str, Any], step: int) -> None:
        """Record the numbers of one step, in one call."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        metrics = [
            Metric(name, float(value), now, step)
            for name, value in values.items()
            if isinstance(value, int | float)
        ]
        self._client.log_batch(self.id, metrics=metrics)

    def finish(self, status: str) -> None:
        """Add the run's files, and the model where that is wanted."""
        tracked, final = self._tracked, self._tracked.folder / "final"
        try:
            for path in tracked.files():
                self._client.log_artifact(self.id, str(path))
            if status == "done" and final.is_dir():
                self._client.set_tag(self.id, "model", final.as_posix())
                if tracked.log_model:
                    self._client.log_artifacts(self.id, str(final), "model")
        finally:
            self._client.set_terminated(self.id, STATUS[status])


def _known(client: Any, run_id: str | None) -> str | None:
    """The id of a run that this server has; it runs again."""
    from mlflow.exceptions import MlflowException

    if run_id is None:
        return None
    try:
        client.update_run(run_id, status="RUNNING")
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None  # another server than before
    return run_id


def _new(client: Any, run: TrackedRun) -> str:
    from mlflow.entities import Param, RunTag

    made = client.create_run(experiment(client, run.project), run_name=run.name)
    run_id = str(made.info.run_id)
    parameters = [Param(key, str(value)[:LONGEST_VALUE]) for key, value in run.settings.items()]
    for first in range(0, len(parameters), PARAMETERS_A_CALL):
        client.log_batch(run_id, params=parameters[first : first + PARAMETERS_A_CALL])
    facts = {**run.facts, "mlflow.source.git.commit": run.facts.get("git_commit")}
    tags = [RunTag(key, str(value)[:LONGEST_VALUE]) for key, value in facts.items()]
    client.log_batch(run_id, tags=tags)
    return run_id
