"""Answers about images; see writing.py for how they are written."""

from __future__ import annotations

from pathlib import Path

from .batched import BatchedRunner
from .metrics import Metrics
from .project import load_predictor
from .settings import ServeSettings


def load_runner(path: Path, settings: ServeSettings, metrics: Metrics) -> BatchedRunner:
    """Load the model in `path`. Blocks. Raises UserError."""
    service = settings.service
    predictor = load_predictor(path, service.device, service.threads)
    return BatchedRunner(predictor, settings, metrics)
