"""Errors that a user can mend, and the exit codes of every script."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import NoReturn

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_STOPPED = 75  # a signal arrived, a checkpoint was saved: run the same command again


class UserError(Exception):
    """A mistake or condition the user can mend; its text says what, where and what to do."""

    exit_code = EXIT_FAILED


class ConfigError(UserError):
    """The configuration or the command line is wrong."""

    exit_code = EXIT_USAGE


class DataError(UserError):
    """The data cannot be used as it is; the text names file and row."""

    exit_code = EXIT_USAGE


def run(main: Callable[[], int | None]) -> NoReturn:
    """Call `main` and exit with its code; a `UserError` becomes its sentence, not a traceback."""
    try:
        code = main() or 0
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        code = error.exit_code
    except KeyboardInterrupt:
        print("error: interrupted; nothing half-written was kept", file=sys.stderr)
        code = 130
    sys.exit(code)
