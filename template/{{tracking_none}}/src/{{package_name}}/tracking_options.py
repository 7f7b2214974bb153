"""Keys of the configuration's section `tracking`."""

from __future__ import annotations

from pydantic import field_validator

from .settings import Section


class TrackingConfig(Section):
    """Where the numbers go besides metrics.jsonl: nowhere in this project."""

    trackers: list[str] = []
    """Names of the trackers to use; this project was made without any."""
    run_name: str | None = None
    """Shown by the tracker; the name of output_dir when null."""

    @field_validator("trackers", mode="before")
    @classmethod
    def _from_text(cls, value: object) -> object:
        return [name for name in value.split(",") if name] if isinstance(value, str) else value
