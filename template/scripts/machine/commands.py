"""Run an installer: its progress on the terminal, its words in a log, no password in either."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

# What is worth a line where nobody watches (CI, a pipe); everything is in the log.
MILESTONES = re.compile(r"\s*(Resolved|Prepared|Installed|Downloading \S+ \(|warning:)")


@dataclass(frozen=True)
class Result:
    """An exit code and what was printed, masked and free of terminal codes."""

    code: int
    output: str


def mask(text: str) -> str:
    """Hide `user:password@` in URLs, also a password that holds a `/`, which git refuses."""
    return re.sub(r"(\w://)(?:[^\s/'\"]+|[^\s/:'\"]+:[^\s'\"]+)@", r"\1***@", text)


def run(
    command: Sequence[str | Path],
    *,
    log: Path,
    cwd: Path,
    env: Mapping[str, str] | None = None,
    quiet: bool = False,
) -> Result:
    """Run to the end, show progress on stderr (unless quiet) and append the output to `log`.

    Raises OSError where the program cannot be started. Ctrl-C stops the program, then us.
    """
    arguments = [str(part) for part in command]
    watched = sys.stderr.isatty() and os.name == "posix" and not quiet
    output = ""
    try:
        if watched:
            code, output = _run_on_terminal(arguments, cwd, env)
        else:
            code, output = _run_piped(arguments, cwd, env, quiet)
    finally:
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("a", encoding="utf-8") as file:
            file.write(f"\n$ {mask(' '.join(arguments))}\n{output}")
    return Result(code, output)


def _run_piped(
    arguments: list[str], cwd: Path, env: Mapping[str, str] | None, quiet: bool
) -> tuple[int, str]:
    process = subprocess.Popen(
        arguments,
        cwd=cwd,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
    )
    lines: list[str] = []
    assert process.stdout is not None
    try:
        for line in map(mask, process.stdout):
            lines.append(line)
            if not quiet and MILESTONES.match(line):
                print(f"  {line.strip()}", file=sys.stderr, flush=True)
        return process.wait(), "".join(lines)
    except BaseException:
        _stop(process)
        raise


def _run_on_terminal(
    arguments: list[str], cwd: Path, env: Mapping[str, str] | None
) -> tuple[int, str]:
    """Give the program a pseudo-terminal, so that it draws its own progress bars."""
    import fcntl
    import pty
    import struct
    import termios

    reader, writer = pty.openpty()
    size = shutil.get_terminal_size()
    fcntl.ioctl(writer, termios.TIOCSWINSZ, struct.pack("HHHH", size.lines, size.columns, 0, 0))
    process = subprocess.Popen(
        arguments, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=writer, stderr=writer
    )
    os.close(writer)
    chunks: list[str] = []
    try:
        while chunk := _read(reader):
            text = mask(chunk.decode("utf-8", errors="replace"))
            chunks.append(text)
            sys.stderr.write(text)
            sys.stderr.flush()
        return process.wait(), _without_progress("".join(chunks))
    except BaseException:
        _stop(process)
        raise
    finally:
        os.close(reader)


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError:  # Linux ends a pseudo-terminal with EIO, macOS with an empty read
        return b""


def _without_progress(text: str) -> str:
    """Drop terminal codes and the frames of progress bars."""
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)
    lines = [line.rstrip() for line in re.split(r"[\r\n]+", plain)]
    return "".join(
        f"{line}\n" for line in lines if line and not re.search(r"[\u2800-\u28ff\u2501]|---", line)
    )


def _stop(process: subprocess.Popen[bytes] | subprocess.Popen[str]) -> None:
    """Let the program end by itself (Ctrl-C reached it too), then end it."""
    try:
        process.wait(timeout=3)
    except subprocess.TimeoutExpired:
        process.terminate()
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
