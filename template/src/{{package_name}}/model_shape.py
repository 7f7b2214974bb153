"""The shape of the configured model, for the estimate: no weights are loaded."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from . import estimate, hub
from .config import SCRATCH, Config
from .data import TASK
from .estimate import EstimateError, ModelShape
from .rows import is_hub_id, local_path

# the kinds of models that a task trains; the first is the usual one
KINDS_OF_TASK = {
    "llm": ("decoder",),
    "text_classification": ("encoder", "decoder"),
    "image_classification": ("vision",),
    "audio_classification": ("audio",),
    "multimodal": ("vision_language",),
}
# they hear sounds of any length, in frames of 400 samples every 320, at 16 kHz
ANY_LENGTH = ("wav2vec2", "hubert")
LARGEST_ENCODER = 1e9  # parameters; what classifies texts with more is a decoder
UNITS = {"": 1, "K": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}


def model_shape(config: Config) -> ModelShape:
    """From the scratch sizes, a config.json, the presets, or the hub. Raises EstimateError."""
    name = config.model.name_or_path
    if name == SCRATCH:
        return _scratch_shape(config)
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
    if shape.kind not in KINDS_OF_TASK[TASK]:
        kinds = " or ".join(KINDS_OF_TASK[TASK])
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
        kind = KINDS_OF_TASK[TASK][0]
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


def _scratch_shape(config: Config) -> ModelShape:
    """The model that build_model makes of `model.scratch`."""
    size: Any = config.model.scratch
    values: dict[str, Any] = {
        "hidden_size": size.hidden_size,
        "num_hidden_layers": size.num_layers,
        "num_attention_heads": size.num_heads,
    }
    if TASK == "llm":
        values |= {
            "model_type": "llama",
            "intermediate_size": int(size.hidden_size * 8 / 3),
            "vocab_size": size.vocab_size,
            "tie_word_embeddings": True,
        }
    elif TASK == "text_classification":
        values |= {
            "model_type": "modernbert",
            "intermediate_size": int(size.hidden_size * 2),
            "vocab_size": size.vocab_size,
            "max_position_embeddings": config.train.max_seq_len,
        }
    elif TASK == "image_classification":
        values |= {
            "model_type": "vit",
            "intermediate_size": size.hidden_size * 4,
            "image_size": size.image_size,
            "patch_size": size.patch_size,
        }
    elif TASK == "audio_classification":
        seconds: float = getattr(config.data, "max_seconds", 10.0)
        values |= {
            "model_type": "audio-spectrogram-transformer",
            "intermediate_size": size.hidden_size * 4,
            "patch_size": size.patch_size,
            "frequency_stride": size.patch_size,
            "time_stride": size.patch_size,
            "num_mel_bins": size.num_mel_bins,
            "max_length": round(100 * seconds) - 2,  # frames of 25 ms every 10 ms
        }
    else:  # an image and a text, each with a model of these sizes
        sides = {"image_size": size.image_size, "patch_size": size.patch_size}
        wide = size.hidden_size * 8 // 3
        text = {"model_type": "llama", "intermediate_size": wide, "vocab_size": size.vocab_size}
        tower = {"model_type": "clip_vision_model", "intermediate_size": size.hidden_size * 2}
        values = {
            "model_type": "llava",
            "image_seq_length": (size.image_size // size.patch_size) ** 2,
            "vision_feature_layer": -1,
            "text_config": values | text,
            "vision_config": values | tower | sides,
        }
    return estimate.shape_from_config(values)
