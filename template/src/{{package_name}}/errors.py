"""Errors that a user can mend, and the exit codes of every script."""

from __future__ import annotations

import errno
import sys
import traceback
from collections.abc import Callable
from types import TracebackType
from typing import NoReturn

from .redaction import redacted

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_STOPPED = 75  # a signal arrived, a checkpoint was saved: run the same command again
# a full disk or quota, a place that may not be written: no fault of the program
MACHINE_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS}

leave: Callable[[int], NoReturn] = sys.exit
"""How `run` ends the process."""


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
        print(redacted(f"error: {error}"), file=sys.stderr)
        code = error.exit_code
    except OSError as error:
        if error.errno not in MACHINE_ERRORS:
            sys.excepthook = _print_redacted
            raise
        where = f"{error.filename}: " if error.filename else ""
        said = f"error: {where}{error.strerror}; mend that and run again"
        print(redacted(said), file=sys.stderr)
        code = EXIT_FAILED
    except KeyboardInterrupt:
        print("error: interrupted; nothing half-written was kept", file=sys.stderr)
        code = 130
    except Exception:
        sys.excepthook = _print_redacted
        raise
    leave(code)


def _print_redacted(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """A traceback in which no secret stands: libraries quote addresses and headers."""
    print(redacted("".join(traceback.format_exception(kind, error, trace))), file=sys.stderr)
