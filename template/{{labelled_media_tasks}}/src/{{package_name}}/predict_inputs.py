"""Classify files with a trained model; prints one JSON object a line.

python scripts/predict.py --model models/run/final FILE FILE
python scripts/predict.py --model models/run/final --file paths.txt
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from .command_line import add_lines, lines
from .media_files import read_file


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command line takes."""
    add_lines(parser, "file", "one path a line")


def read_inputs(options: argparse.Namespace) -> list[bytes]:
    """The contents of the files. Raises ConfigError where there is none, or one cannot be read."""
    return [read_file(Path(line)) for line in lines(options)]


def predict_options(options: argparse.Namespace) -> dict[str, Any]:
    """A classifier has none."""
    return {}
