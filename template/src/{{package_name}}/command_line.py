"""Inputs as scripts/predict.py is given them, whatever the task: words, and a file of lines."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from .errors import ConfigError

STDIN = "-"


def add_lines(parser: argparse.ArgumentParser, unit: str, file_help: str) -> None:
    """Let `parser` take any number of a `unit`, such as `text`, and `--file` with more."""
    parser.add_argument("lines", nargs="*", metavar=unit.upper(), help="what to predict on")
    parser.add_argument("--file", type=Path, help=f"{file_help}; {STDIN} for standard input")


def lines(options: argparse.Namespace) -> list[str]:
    """Those of the command line, then those of `--file`. Raises ConfigError where there is none."""
    found: list[str] = [*options.lines, *_read(options.file)]
    if not found:
        raise ConfigError("nothing to predict on; name it on the command line or in --file")
    if any("\ud800" <= character <= "\udfff" for line in found for character in line):
        raise ConfigError("a text on the command line is not UTF-8")
    return found


def _read(path: Path | None) -> list[str]:
    if path is None:
        return []
    try:
        text = sys.stdin.read() if str(path) == STDIN else path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"--file: {path} cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise ConfigError(f"--file: {path} is not UTF-8 text") from None
    return [line for line in text.splitlines() if line.strip()]
