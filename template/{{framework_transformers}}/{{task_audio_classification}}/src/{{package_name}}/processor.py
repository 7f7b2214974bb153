"""What turns recordings into the model's input: its sampling rate, length and spectrogram."""

from __future__ import annotations

import warnings
from typing import Any

from transformers import ASTFeatureExtractor, AutoFeatureExtractor

from .config import SCRATCH, Config
from .errors import ConfigError
from .pretrained import load
from .task_options import CUT_STEPS, STEP_S, frames

PROCESSOR_CLASS = AutoFeatureExtractor
RATE_HZ = 16_000

# said of AST's own 128 bands, which every AST was trained with
warnings.filterwarnings("ignore", message="At least one mel filter has all zero values")


def get_processor(config: Config) -> Any:
    """The model's feature extractor; for `scratch` that of an AST as long as a recording.

    data.max_seconds is kept in it, so that prediction hears what training heard. Raises
    ConfigError where the model cannot hear that much.
    """
    model, seconds = config.model, config.data.max_seconds
    if model.name_or_path == SCRATCH:
        processor: Any = ASTFeatureExtractor(
            sampling_rate=RATE_HZ,
            num_mel_bins=model.scratch.num_mel_bins,
            max_length=frames(seconds),
        )
    else:
        processor = load(PROCESSOR_CLASS, model.name_or_path, revision=model.revision)
        if not hasattr(processor, "sampling_rate"):
            raise ConfigError(
                f"model.name_or_path: {model.name_or_path} has a {type(processor).__name__}, "
                "which takes no sound; name an audio model"
            )
        limit = _longest_s(processor)
        if limit and seconds > limit:
            raise ConfigError(
                f"data.max_seconds: {model.name_or_path} hears {limit:.2f} seconds at most, "
                f"not {seconds:g}"
            )
    processor.max_seconds = seconds
    return processor


def _longest_s(processor: Any) -> float | None:
    """Seconds that fit the model; None where it takes any number of them."""
    if isinstance(processor, ASTFeatureExtractor):
        return round((processor.max_length + CUT_STEPS) * STEP_S, 2)
    return getattr(processor, "chunk_length", None)  # Whisper's
