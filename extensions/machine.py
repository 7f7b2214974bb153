"""What this machine says of itself: its NVIDIA GPUs and git's author, each asked at most once."""

from __future__ import annotations

import shutil
import subprocess
from functools import cache


class GitAuthor:
    """The author in git's configuration, read when looked at; empty where git does not know."""

    @property
    def name(self) -> str:
        """`user.name`."""
        return _git_user().get("user.name", "")

    @property
    def email(self) -> str:
        """`user.email`."""
        return _git_user().get("user.email", "")


@cache
def nvidia_gpus() -> tuple[str, ...]:
    """Return nvidia-smi's product names, one a GPU; empty without a driver that answers."""
    text = _output("nvidia-smi", "--query-gpu=name", "--format=csv,noheader", timeout_s=3.0)
    return tuple(line.strip() for line in text.splitlines() if line.strip())


@cache
def _git_user() -> dict[str, str]:
    text = _output("git", "config", "--get-regexp", r"^user\.(name|email)$", timeout_s=1.0)
    return dict(line.split(" ", 1) for line in text.splitlines() if " " in line)


def _output(program: str, *arguments: str, timeout_s: float) -> str:
    """Return what a program prints, or nothing if it is missing, fails or hangs."""
    path = shutil.which(program)
    if path is None:
        return ""
    try:
        done = subprocess.run(
            [path, *arguments],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout
