"""Classify texts with a trained model; prints one JSON object a line.

python scripts/predict.py --model models/run/final "first text" "second text"
python scripts/predict.py --model models/run/final --file texts.txt
"""

from __future__ import annotations

import argparse
from typing import Any

from .command_line import add_lines, lines


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command line takes."""
    add_lines(parser, "text", "one text a line")


def read_inputs(options: argparse.Namespace) -> list[str]:
    """The texts. Raises ConfigError where there is none, or a file cannot be read."""
    return lines(options)


def predict_options(options: argparse.Namespace) -> dict[str, Any]:
    """A classifier has none."""
    return {}
