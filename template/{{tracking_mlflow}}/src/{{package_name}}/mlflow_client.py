"""How this project reaches MLflow: a server by its address, else a SQLite file in models/."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

from .credentials import refuse_placeholder

MODELS = Path("models")
SQLITE = "sqlite:///"


def refuse_placeholders() -> None:
    """Raise ConfigError for credentials that are still those of .env.example."""
    for variable in ("MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_TOKEN", "MLFLOW_TRACKING_PASSWORD"):
        refuse_placeholder(
            variable,
            "ask those who run your MLflow server, or unset it: runs and versions are then kept "
            "in models/mlflow.db",
        )


def connect(server: str | None) -> Any:
    """Return an MlflowClient; nothing of its use is reported to MLflow's makers.

    Raises ConfigError for a placeholder, MlflowException for an address of no known kind.
    """
    refuse_placeholders()
    for name, value in (
        ("MLFLOW_DISABLE_TELEMETRY", "true"),
        # an outage is noticed after seconds; the default is many minutes
        ("MLFLOW_HTTP_REQUEST_TIMEOUT", "10"),
        ("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1"),
    ):
        os.environ.setdefault(name, value)
    from mlflow.tracking import MlflowClient

    for chatty in ("mlflow", "alembic"):  # each migration of a new database, line by line
        logging.getLogger(chatty).setLevel(logging.WARNING)
    address = address_of(server)
    return MlflowClient(address, registry_uri=address)


def address_of(server: str | None) -> str:
    """The server's address, else that of the project's own database."""
    given = server or os.environ.get("MLFLOW_TRACKING_URI")
    if given:
        return given
    MODELS.mkdir(exist_ok=True)
    return f"{SQLITE}{(MODELS / 'mlflow.db').resolve().as_posix()}"


def database(client: Any) -> Path | None:
    """The SQLite file that a client writes to; None for a server."""
    address = str(client.tracking_uri).partition("?")[0]
    return Path(address.removeprefix(SQLITE)) if address.startswith(SQLITE) else None


def experiment(client: Any, name: str) -> str:
    """The id of an experiment, which is made where it is missing."""
    found = client.get_experiment_by_name(name)
    if found:
        return str(found.experiment_id)
    file = database(client)
    # a server knows itself where artifacts go
    location = (file.parent / "mlartifacts").resolve().as_uri() if file else None
    return str(client.create_experiment(name, artifact_location=location))
