"""Logs: one JSON object a line, with the request's id and never its input."""

from __future__ import annotations

import json
import logging
import traceback
from contextvars import ContextVar
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

from .project import redacted

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)


def configure_logging(level: str) -> None:
    """Send everything, uvicorn's lines too, to stderr as JSON."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.captureWarnings(True)


class JsonFormatter(logging.Formatter):
    """`logger.info(message, extra={"fields": {...}})` adds fields to the line.

    Of an exception it keeps the type and the place but not the text, which may quote the input.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line of JSON."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": redacted(record.getMessage()),  # libraries tell addresses
        }
        if identity := request_id.get():
            line["request_id"] = redacted(identity)  # the client chose it
        fields = getattr(record, "fields", {})
        line |= {
            name: redacted(value) if isinstance(value, str) else value
            for name, value in fields.items()
        }
        if record.exc_info and record.exc_info[0]:
            kind, _, trace = record.exc_info
            line |= {"exception": kind.__name__, "stack": _places(trace)}
        return json.dumps(line, default=str)


def _places(trace: TracebackType | None) -> list[str]:
    frames = traceback.extract_tb(trace)
    return [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
