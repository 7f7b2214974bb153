"""Sounds: how a file is read, varied in training, and made the model's input."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from typing import Any, BinaryIO

import numpy as np
import soundfile
import soxr

from .config import Config
from .media_files import Facts
from .task_options import MAX_SECONDS

TASK = "audio_classification"
KIND = "audio"  # in messages
SUFFIXES = {
    *(".aif", ".aiff", ".au", ".caf", ".flac", ".mp3", ".oga", ".ogg", ".opus", ".w64", ".wav"),
    # not read, but in a class folder; they must be told, not passed over
    *(".aac", ".m4a", ".webm", ".wma"),
}
READ = "WAV, FLAC, MP3, Ogg (Vorbis, Opus), AIFF, AU, CAF"
LONGEST_MINUTES = 10  # a whole file is decoded for each batch that it is in
RATES_HZ = (1_000, 768_000)
MAX_CHANNELS = 64
BLOCK = 2**20  # values decoded at a time, of all channels together
SILENCE_DB = -60  # the loudest sample of what counts as silent
SNR_RANGE_DB = 30  # noise is between train.min_snr_db and this much below it

Batch = dict[str, np.ndarray]


def check(file: BinaryIO, max_seconds: float | None = None) -> float:
    """Read the header; its seconds. Raises ValueError saying what is wrong with the file."""
    with _open(file) as sound:
        seconds = float(sound.frames / sound.samplerate)
    if max_seconds and seconds > max_seconds:
        raise ValueError(f"lasts {seconds:,.0f} seconds; cut it into pieces of {max_seconds:g}")
    return seconds


def fit_note(seconds: Sequence[float], processor: Any) -> str:
    """How many recordings are cut or repeated to the length that the model hears."""
    limit = num_samples(processor) / processor.sampling_rate
    longer = sum(each > limit + 1 / processor.sampling_rate for each in seconds)
    shorter = sum(each < limit - 1 / processor.sampling_rate for each in seconds)
    return (
        f"; {longer:,} are longer than {limit:g} s, of which a part is heard, and {shorter:,} are "
        "shorter and repeated"
        if longer or shorter
        else ""
    )


def describe(file: BinaryIO) -> Facts:
    """What `--inspect` tells of a file. Raises ValueError for a damaged one."""
    with _open(file) as sound:
        kinds = {
            "format": str(sound.format),
            "samples a second": f"{sound.samplerate:,}",
            "channels": str(sound.channels),
        }
        seconds = sound.frames / sound.samplerate
        wave = _mono(sound)
    silent = np.abs(wave).max(initial=0.0) < _amplitude(SILENCE_DB)
    return Facts(kinds, {"Seconds": seconds}, "silent" if silent else None)


def decode(file: BinaryIO, processor: Any) -> np.ndarray:
    """The mean of the channels at the model's sampling rate: (N,), float32.

    Raises ValueError saying what is wrong with the file.
    """
    with _open(file) as sound:
        rate_hz = sound.samplerate
        wave = _mono(sound)
    if rate_hz != processor.sampling_rate:
        wave = soxr.resample(wave, rate_hz, processor.sampling_rate)
    if not len(wave):
        raise ValueError("is too short to hear anything")
    return wave


def _mono(sound: soundfile.SoundFile) -> np.ndarray:
    """The mean of the channels: (N,), float32. Raises ValueError for a damaged file."""
    blocks = sound.blocks(max(1, BLOCK // sound.channels), dtype="float32", always_2d=True)
    try:
        wave = np.concatenate([block.mean(axis=1) for block in blocks])
    except Exception as error:  # a damaged file: decoders raise whatever they stumble over
        raise ValueError(f"is no whole recording ({_reason(error)})") from None
    if not np.isfinite(wave).all():
        raise ValueError("holds values that are infinite or no numbers; write it anew")
    return wave


def _open(file: BinaryIO) -> soundfile.SoundFile:
    try:
        sound = soundfile.SoundFile(file)
    except Exception as error:
        reason = _reason(error)
        if "not recogni" in reason:
            raise ValueError(f"is no recording of a kind that is read ({READ})") from None
        raise ValueError(f"is no whole recording ({reason})") from None
    problem = _problem(sound.frames, sound.samplerate, sound.channels)
    if problem:
        sound.close()
        raise ValueError(problem)
    return sound


def _problem(frames: int, rate_hz: int, channels: int) -> str | None:
    """What a header says that cannot be used; None where all is well."""
    if not frames:
        return "is empty: it has a header and no sound"
    if not RATES_HZ[0] <= rate_hz <= RATES_HZ[1]:
        return f"has {rate_hz:,} samples a second, and {RATES_HZ[0]:,} to {RATES_HZ[1]:,} are read"
    if channels > MAX_CHANNELS:
        return f"has {channels:,} channels, and up to {MAX_CHANNELS} are read"
    minutes = frames / rate_hz / 60
    if minutes > 1e6:  # what a program writes that does not know the end yet
        return "does not say how long it is; write it anew"
    if minutes > LONGEST_MINUTES:
        return f"lasts {minutes:,.0f} minutes; cut it into pieces of up to {LONGEST_MINUTES}"
    return None


def _reason(error: Exception) -> str:
    """What libsndfile says, without the name of a Python object in front."""
    return str(getattr(error, "error_string", error)).removeprefix("Error : ").strip(". ")


def augment(
    sample: np.ndarray, rng: np.random.Generator, processor: Any, config: Config
) -> np.ndarray:
    """A random part or shift of the recording, louder or quieter, with noise: float32."""
    options, length = config.train, num_samples(processor)
    start, shift, gain, snr = rng.random(4)
    if len(sample) > length and options.random_crop:
        first = int(start * (len(sample) - length + 1))
        sample = sample[first : first + length]
    elif len(sample) <= length:
        sample = np.roll(fit(sample, length), round((2 * shift - 1) * options.time_shift * length))
    sample = sample * np.float32(_amplitude((2 * gain - 1) * options.gain_db))
    if options.min_snr_db is not None:
        below = _amplitude(-options.min_snr_db - SNR_RANGE_DB * snr)
        noise = rng.standard_normal(len(sample), dtype=np.float32)
        sample = sample + np.float32(below * np.sqrt(np.mean(sample**2))) * noise
    return sample


def _amplitude(decibels: float) -> float:
    return float(10 ** (decibels / 20))


def num_samples(processor: Any) -> int:
    """Length of what the model hears; get_processor has put it into the feature extractor."""
    return round(getattr(processor, "max_seconds", MAX_SECONDS) * processor.sampling_rate)


def fit(sample: np.ndarray, length: int) -> np.ndarray:
    """The middle of a recording that is longer; a shorter one from its start, again and again.

    So all have one length, and what the model says of a recording does not depend on what
    stands beside it in the batch.
    """
    if len(sample) < length:
        return np.resize(sample, length)
    first = (len(sample) - length) // 2
    return sample[first : first + length].copy()  # a view would keep the whole of it


def to_inputs(samples: Iterable[np.ndarray], processor: Any) -> Batch:
    """What the model's feature extractor makes of the recordings, as float32.

    `input_values` is the wave (B, N) for wav2vec2 and its like, or the spectrogram (B, frames,
    mels) for AST; `input_features` is the spectrogram (B, mels, frames) for Whisper. Some add
    `attention_mask` (B, frames or N), int64.
    """
    length = num_samples(processor)
    waves = [fit(sample, length) for sample in samples]
    features = processor(waves, sampling_rate=processor.sampling_rate, return_tensors="np")
    return {
        name: np.ascontiguousarray(
            values, dtype=np.int64 if name == "attention_mask" else np.float32
        )
        for name, values in features.items()
    }


def _probe(seconds: float, rate_hz: int, seed: int) -> bytes:
    noise = np.random.default_rng(seed).normal(0, 0.1, round(seconds * rate_hz))
    file = io.BytesIO()
    soundfile.write(file, noise, rate_hz, format="WAV", subtype="PCM_16")
    return file.getvalue()


# what the smoke test and the export compare two copies of a model on
PROBES = [_probe(0.3, 16_000, seed=1), _probe(1.2, 22_050, seed=2)]
