"""Folders in which no project can be made: said before the first file is written."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

NEEDED_MIB = 8  # a project with its sample data has about 2; packages come later


def problem(destination: Path) -> str:
    """Return why the files cannot be written there, and what to do; or an empty text."""
    there = destination.absolute()
    if ".git" in there.parts:
        return f"{there} is among git's own files; name another destination."
    while not os.path.lexists(there) and there != there.parent:  # a drive may not exist
        there = there.parent
    if not there.is_dir():
        return f"{there} is no folder; name another destination, or move it away."
    if not os.access(there, os.W_OK | os.X_OK):
        return f"{there} cannot be written; name another one or change its rights."
    free_mib = shutil.disk_usage(there).free / 2**20
    if free_mib < NEEDED_MIB:
        return (
            f"{there} has {free_mib:.1f} MiB left and a project needs {NEEDED_MIB}; free some "
            "space or name a destination on another disk."
        )
    return ""
