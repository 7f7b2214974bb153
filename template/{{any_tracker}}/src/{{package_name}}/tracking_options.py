"""Keys of the configuration's section `tracking`."""

from __future__ import annotations

from pydantic import PositiveFloat, field_validator

from .settings import Section


class TrackingConfig(Section):
    """Where the numbers go besides metrics.jsonl."""

    trackers: list[str] = []
    """Names of the trackers to use; metrics.jsonl and report.html are always written."""
    run_name: str | None = None
    """Shown by the tracker; the name of output_dir when null."""
    project: str | None = None
    """Project (W&B) or experiment (MLflow) that the run belongs to; the package's name when null.
    """
    servers: dict[str, str] = {}
    """Address of a tracker's server, such as `mlflow: http://10.0.0.1:5000`. Without one:
    MLFLOW_TRACKING_URI, else models/mlflow.db; WANDB_BASE_URL, else W&B's own."""
    log_model: bool = False
    """Also upload final/; otherwise the tracker only says where it is and its hash."""
    finish_seconds: PositiveFloat = 30.0
    """How long the end of a run waits for trackers; longer where large models are uploaded."""

    @field_validator("trackers", mode="before")
    @classmethod
    def _from_text(cls, value: object) -> object:
        return [name for name in value.split(",") if name] if isinstance(value, str) else value
