"""Answer questions about an image with a trained model; prints one JSON object a line.

python scripts/predict.py --model models/run/final --image first.jpg "first question" "second"
python scripts/predict.py --model models/run/final --image first.jpg --file questions.txt
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from .command_line import add_lines, lines
from .errors import ConfigError
from .media_files import read_file
from .predict_options import add_generation, predict_options

__all__ = ["add_arguments", "predict_options", "read_inputs"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command line takes."""
    parser.add_argument("--image", type=Path, help="the image that all questions are about")
    add_lines(parser, "question", "one question a line")
    add_generation(parser)


def read_inputs(options: argparse.Namespace) -> list[dict[str, Any]]:
    """The image with each question. Raises ConfigError for what is missing or cannot be read."""
    if options.image is None:
        raise ConfigError("nothing to look at; give --image and the path of an image")
    questions = lines(options)
    image = read_file(options.image)
    return [{"image": image, "text": question} for question in questions]
