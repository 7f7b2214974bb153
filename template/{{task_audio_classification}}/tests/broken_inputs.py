"""What is wrong with recordings, each in one file."""

from __future__ import annotations

import io

import numpy as np
import soundfile
from broken_media import Media

RATE_HZ = 16_000


def wav(wave: np.ndarray, rate_hz: int = RATE_HZ, subtype: str = "PCM_16") -> bytes:
    file = io.BytesIO()
    soundfile.write(file, wave, rate_hz, format="WAV", subtype=subtype)
    return file.getvalue()


def sound(seed: int) -> bytes:
    return wav(np.random.default_rng(seed).normal(0, 0.1, RATE_HZ // 2))


BAD = {
    "empty": b"",
    "text": b"no sound",
    "silence": wav(np.zeros(0)),
    "slow": wav(np.zeros(100), rate_hz=100),
    "head": sound(1)[:20],
    "hours": wav(np.zeros(700_000), rate_hz=1000),
}
RECORDINGS = Media("audio", ".wav", sound, BAD)
GOOD = RECORDINGS.good
BROKEN = [
    *RECORDINGS.broken(),
    RECORDINGS.file("empty", "empty.wav is no"),
    RECORDINGS.file("text", "text.wav is no recording of a kind"),
    RECORDINGS.file("silence", "it has a header and no sound"),
    RECORDINGS.file("slow", "has 100 samples a second"),
    RECORDINGS.file("head", "head.wav "),
    RECORDINGS.file("hours", "lasts 12 minutes; cut it"),
]
