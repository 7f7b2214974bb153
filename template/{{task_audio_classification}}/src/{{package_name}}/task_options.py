"""The configuration keys that only an audio-classification project has."""

from __future__ import annotations

import math
from typing import Any

from pydantic import Field

from .settings import Section
from .small_model import SmallTransformer

MAX_SECONDS = 10.0
# AST's spectrogram has a step every 10 ms that looks at 25 ms, so the last two do not fit
STEP_S, CUT_STEPS = 0.01, 2

# the kinds of models that the task trains, as the estimate calls them; the first is the usual one
MODEL_KINDS = ("audio",)


class ScratchOptions(SmallTransformer):
    """A small audio spectrogram transformer (AST) with random weights, at 16 kHz."""

    num_mel_bins: int = Field(default=64, ge=16, le=128)
    """Bands of the mel spectrogram, which has a step every 10 ms."""
    patch_size: int = Field(default=16, ge=2, le=16)
    """Bands and steps of the pieces of the spectrogram that the model sees as tokens."""

    def architecture(self, max_seq_len: int, data: TaskDataOptions) -> dict[str, Any]:
        """The model's config.json, an AST's, but for the classes."""
        return {
            **self.transformer("audio-spectrogram-transformer", widening=4),
            "patch_size": self.patch_size,
            "frequency_stride": self.patch_size,
            "time_stride": self.patch_size,
            "num_mel_bins": self.num_mel_bins,
            "max_length": frames(data.max_seconds),
        }


def frames(seconds: float) -> int:
    """Steps of the spectrogram of a recording."""
    return math.ceil(seconds / STEP_S) - CUT_STEPS


class TaskDataOptions(Section):
    """Keys of the section `data`."""

    media_column: str = "audio"
    """Column of a table that holds the recording: a path, or its bytes."""
    label_column: str = "label"
    """Column of a table that holds the class name."""
    max_seconds: float = Field(default=MAX_SECONDS, ge=0.5, le=60.0)
    """Seconds of each recording that the model hears: of a longer one a part, a shorter one
    again and again. Time and memory grow with it."""


class TaskTrainOptions(Section):
    """Keys of the section `train`."""

    freeze_feature_encoder: bool = True
    """The convolutions at the start of a pretrained wav2vec2, HuBERT or WavLM stay as they are."""
    random_crop: bool = True
    """Training hears a random part of a recording that is longer than data.max_seconds;
    evaluation hears its middle."""
    time_shift: float = Field(default=0.1, ge=0.0, le=0.5)
    """Training hears other recordings up to this share of data.max_seconds earlier or later."""
    gain_db: float = Field(default=6.0, ge=0.0, le=40.0)
    """Training hears each recording up to this much louder or quieter."""
    min_snr_db: float | None = Field(default=20.0, ge=0.0, le=100.0)
    """Training hears noise, at least this far below the recording; when null, none."""
