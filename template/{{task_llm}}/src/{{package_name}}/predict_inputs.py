"""Answer texts and conversations with a trained model; prints one JSON object a line.

python scripts/predict.py --model models/run/final "first text" "second text"
python scripts/predict.py --model models/run/final --file texts.txt
python scripts/predict.py --model models/run/final --file chats.jsonl
"""

from __future__ import annotations

import argparse
import json
from typing import Any

from .command_line import add_lines, lines
from .errors import ConfigError
from .predict_options import add_generation, predict_options

__all__ = ["add_arguments", "predict_options", "read_inputs"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command line takes."""
    add_lines(parser, "text", "one text a line, or .jsonl with one conversation a line")
    add_generation(parser)


def read_inputs(options: argparse.Namespace) -> list[Any]:
    """Texts, and conversations of a .jsonl. Raises ConfigError for what cannot be read."""
    inputs: list[Any] = list(lines(options))
    if options.file and options.file.suffix == ".jsonl":
        first = len(options.lines)
        inputs[first:] = [_messages(line, n) for n, line in enumerate(inputs[first:], start=1)]
    return inputs


def _messages(line: str, number: int) -> list[Any]:
    try:
        values = json.loads(line)
    except (ValueError, RecursionError):
        raise ConfigError(f"--file: row {number} is not JSON") from None
    messages = values.get("messages") if isinstance(values, dict) else values
    if not isinstance(messages, list):
        raise ConfigError(f"--file: row {number} needs `messages`, a list of role and content")
    return messages
