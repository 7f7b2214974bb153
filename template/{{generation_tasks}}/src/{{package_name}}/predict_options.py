"""How scripts/predict.py is told to write."""

from __future__ import annotations

import argparse
from typing import Any

from .errors import ConfigError


def add_generation(parser: argparse.ArgumentParser) -> None:
    """Let `parser` take the options of an answer."""
    parser.add_argument("--max-new-tokens", type=int, default=64)
    parser.add_argument("--temperature", type=float, default=0.0, help="0: the likeliest token")
    parser.add_argument("--seed", type=int, default=0)


def predict_options(options: argparse.Namespace) -> dict[str, Any]:
    """Options of `Predictor.predict`. Raises ConfigError for a number out of range."""
    if options.max_new_tokens < 1 or not 0 <= options.temperature < float("inf"):
        raise ConfigError("--max-new-tokens must be at least 1 and --temperature at least 0")
    if not 0 <= options.seed < 2**63:
        raise ConfigError("--seed must be between 0 and 2^63 - 1")
    return {
        "max_new_tokens": options.max_new_tokens,
        "temperature": options.temperature,
        "seed": options.seed,
    }
