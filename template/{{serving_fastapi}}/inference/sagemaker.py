"""Serve a model as SageMaker starts a container, also as a plain process on your machine:

SAGEMAKER_BASE_DIR=/tmp/ml python -m inference.sagemaker serve

The model lies in <base>/model, at the top or in a folder below such as `final`. The port is
SAGEMAKER_BIND_TO_PORT. Who may call is SageMaker's matter, so API_KEYS is not read.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from .__main__ import serve
from .logs import configure_logging
from .project import ConfigError, UserError, redacted, run
from .settings import MODEL_FILES, ServeSettings, load_settings

BASE = "/opt/ml"
PORT = "8080"
LONGEST_SECONDS = 60.0  # SageMaker gives an answer up after this
END_SECONDS = 28  # it kills what has not ended 30 seconds after SIGTERM


def main() -> int:
    """Serve until SIGTERM; why it could not start is also written to <base>/output/failure."""
    base = Path(os.environ.get("SAGEMAKER_BASE_DIR", BASE))
    try:
        settings = read_settings(base, sys.argv[1:])
        configure_logging(settings.service.log_level)
        return serve(settings)
    except UserError as error:
        failure = base / "output/failure"
        try:
            failure.parent.mkdir(parents=True, exist_ok=True)
            failure.write_text(redacted(f"{error}\n"), "utf-8")
        except OSError:
            pass  # the folder may be read-only; the log has it
        raise


def read_settings(base: Path, argv: list[str]) -> ServeSettings:
    """The project's settings, within what SageMaker allows. Raises UserError."""
    if argv[:1] != ["serve"]:
        raise ConfigError("SageMaker starts a model with the argument `serve`; give it first")
    port = os.environ.get("SAGEMAKER_BIND_TO_PORT", PORT)
    model = str(find_model(base / "model"))
    settings = load_settings(["--model", model, "--host", "0.0.0.0", "--port", port, *argv[1:]])
    service, limits = settings.service, settings.limits
    limits.deadline_seconds = min(limits.deadline_seconds, LONGEST_SECONDS)
    service.drain_seconds = min(service.drain_seconds, END_SECONDS / 2)
    left = int(END_SECONDS - service.drain_seconds)
    service.shutdown_seconds = min(settings.end_seconds, left)
    return settings


def find_model(folder: Path) -> Path:
    """The one folder at or below `folder` that holds a model. Raises ConfigError."""
    found = {file.parent for name in MODEL_FILES for file in folder.glob(f"**/{name}")}
    inner = {path for path in found if found.isdisjoint(path.parents)}  # outermost ones
    if len(inner) == 1:
        return inner.pop()
    if not inner:
        raise ConfigError(f"{folder} holds no model (no {MODEL_FILES[0]}); pack a `final` folder")
    names = ", ".join(sorted(path.relative_to(folder).as_posix() for path in inner)[:5])
    raise ConfigError(f"{folder} holds several models ({names}); pack one of them")


if __name__ == "__main__":
    run(main)
