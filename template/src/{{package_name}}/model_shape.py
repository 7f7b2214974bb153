"""The shape of the configured model, for the estimate: no weights are loaded."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

from . import estimate, hub
from .config import SCRATCH, Config
from .data import TASK
from .estimate import EstimateError, ModelShape
from .rows import is_hub_id, local_path
from .task_options import MODEL_KINDS

# they hear sounds of any length, in frames of 400 samples every 320, at 16 kHz
ANY_LENGTH = ("wav2vec2", "hubert")
LARGEST_ENCODER = 1e9  # parameters; what classifies texts with more is a decoder
UNITS = {"": 1, "K": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}


def model_shape(config: Config) -> ModelShape:
    """From the scratch sizes, a config.json, the presets, or the hub. Raises EstimateError."""
    name = config.model.name_or_path
    if name == SCRATCH:
        size = config.model.scratch
        return estimate.shape_from_config(size.architecture(config.train.max_seq_len, config.data))
    shape = shape_of(name, config.model.revision)
    seconds = getattr(config.data, "max_seconds", None)
    if seconds and shape.family.startswith(ANY_LENGTH):
        return replace(shape, tokens=(int(seconds * 16_000) - 400) // 320 + 1)
    return shape


def shape_of(name: str, revision: str | None = None) -> ModelShape:
    """Of a hub id, a folder or config.json, or a count such as `7B`, that this task can train.

    Raises EstimateError.
    """
    shape = _find_shape(name, revision)
    if shape.kind not in MODEL_KINDS:
        kinds = " or ".join(MODEL_KINDS)
        raise EstimateError(
            f"{name[:200]} is a model of kind {shape.kind}; {TASK} trains {kinds} models"
        )
    return shape


def _find_shape(name: str, revision: str | None) -> ModelShape:
    count = re.fullmatch(r"([0-9.]+(?:[eE][+-]?[0-9]+)?)([kKmMbBtT]?)", name.strip())
    if count and (len(name) > 99 or not Path(name).exists()):
        try:
            number = float(count[1]) * UNITS[count[2].upper()]
        except ValueError:  # two points
            number = float("nan")
        kind = MODEL_KINDS[0]
        if kind == "encoder" and number > LARGEST_ENCODER:
            kind = "decoder"
        return estimate.shape_from_parameters(number, kind)
    path = local_path(name)
    if path is not None:
        return _read_shape(path / "config.json" if path.is_dir() else path)
    if name.startswith((".", "/", "~")):
        raise EstimateError(
            f"{name[:200]} is not there; give the folder of a model or its config.json"
        )
    try:
        return estimate.find_model(name)
    except EstimateError:
        downloaded = _downloaded_config(name, revision)
        if downloaded is None:
            raise
        return _read_shape(downloaded)


def _downloaded_config(name: str, revision: str | None) -> Path | None:
    """A hub model's config.json, from its cache or the network; None where neither has it."""
    if not is_hub_id(name):
        return None
    try:
        from huggingface_hub import hf_hub_download

        offline = not hub.is_reachable()
        return Path(
            hf_hub_download(name, "config.json", revision=revision, local_files_only=offline)
        )
    except (ImportError, OSError, ValueError):
        return None


def _read_shape(path: Path) -> ModelShape:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise EstimateError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise EstimateError(f"{path} cannot be read as JSON: {error!s:.200}") from None
    if not isinstance(values, dict):
        raise EstimateError(f"{path} is not a JSON object")
    try:
        return estimate.shape_from_config(values)
    except EstimateError as error:
        raise EstimateError(f"{path}: {str(error).removeprefix('config.json: ')}") from None
