"""Programs on a terminal of their own, which is answered when it waits; and stand-ins for some."""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

LONGEST_SECONDS = 300
SILENT_SECONDS = 0.3
_COLOUR = re.compile(r"\x1b\[[\d;?]*[A-Za-z]")  # or where the cursor goes


def type_line(line: str, folder: Path, environment: Mapping[str, str]) -> str:
    """Run a line of a shell there, press Enter at each question, and return what was shown."""
    screen, code = run(["bash", "-euo", "pipefail", "-c", line], folder, environment)
    assert code == 0, f"{line}\n{screen[-4000:]}"
    return screen


def run(
    command: Sequence[str],
    folder: Path,
    environment: Mapping[str, str],
    question: str = "",
    answer: str = "\r",
) -> tuple[str, int]:
    """Return what was shown and the exit code; `answer` is typed when `question` waits for it."""
    ours, theirs = os.openpty()
    termios.tcsetwinsize(theirs, (50, 200))
    process = subprocess.Popen(
        command,
        cwd=folder,
        # prompts would otherwise ask the terminal where its cursor is
        env={**environment, "PROMPT_TOOLKIT_NO_CPR": "1", "GIT_PAGER": "cat", "TERM": "xterm"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    try:
        screen = "".join(_shown(ours, process, question, answer))
        code = process.wait(timeout=30)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        os.close(ours)
    return _COLOUR.sub("", screen).replace("\r\n", "\n"), code


def _shown(
    terminal: int, process: subprocess.Popen[bytes], question: str, answer: str
) -> Iterator[str]:
    new, end = "", time.monotonic() + LONGEST_SECONDS
    while time.monotonic() < end:
        ended = process.poll() is not None  # before what it may say last is looked for
        if select.select([terminal], [], [], SILENT_SECONDS)[0]:
            try:
                read = os.read(terminal, 65536).decode("utf-8", "replace")
            except OSError:  # on Linux, when the last program has closed it
                return
            new += read
            yield read
        elif ended:
            return
        elif question in new:  # a prompt is drawn twice: look at what came since the last answer
            new = ""
            os.write(terminal, answer.encode())
    raise TimeoutError(f"it did not end in {LONGEST_SECONDS} s")


def uvx(folder: Path) -> Path:
    """Make a `uvx` that runs this environment's Copier, without a network, for our options only."""
    program = folder / "uvx"
    return _write(
        program,
        '[ "$1 $2 $3" = "--with copier-template-extensions copier" ] || exit 64\n'
        f'shift 3\nexec "{sys.executable}" -m copier "$@"\n',
    )


def python(folder: Path, log: Path) -> Path:
    """Make a Python that runs scripts/update.py; of all else it writes down how it was called."""
    return _write(
        folder / "python",
        f'[ "$1" = scripts/update.py ] && exec "{sys.executable}" "$@"\necho "$@" >>"{log}"\n',
    )


def _write(program: Path, text: str) -> Path:
    program.parent.mkdir(parents=True, exist_ok=True)
    program.write_text(f"#!/bin/sh\n{text}", "utf-8")
    program.chmod(0o755)
    return program
