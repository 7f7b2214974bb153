"""A folder that someone else filled, looked at within bounds: entries, bytes, depth and time.

Nothing here raises for what it finds. What cannot be read is as if it were not there.
"""

from __future__ import annotations

import os
import stat
import time
from itertools import islice
from pathlib import Path

MAX_ENTRIES = 10_000
MAX_ENTRIES_PER_FOLDER = 2_000
MAX_DEPTH = 4
MAX_SECONDS = 0.3
"""After this nothing more is opened. Ordinary folders take a fifteenth of it."""
MAX_PATH_CHARACTERS = 200
READ_BYTES = 2**20

# Environments, caches and results: large, and not what a person wrote. `sample` is this
# template's own data, there when a first attempt broke off.
_SKIPPED = (
    "build checkpoints dist env logs mlruns models node_modules outputs runs sample site-packages "
    "target tests venv wandb __pycache__"
)
SKIPPED_FOLDERS = frozenset(_SKIPPED.split())


class Folder:
    """Names below a root, by folder, and the means to read files without harm.

    Hidden entries, links to folders, and names that are no printable text are left out.
    """

    def __init__(self, root: Path) -> None:
        """List the folder, nearest first."""
        self.root = root
        self.files: dict[str, list[str]] = {}
        """Names of the files in each folder; the root is the empty text."""
        self.folders: dict[str, list[str]] = {}
        """Names of the folders in each folder."""
        self.capped: set[str] = set()
        """Folders that hold more than was listed."""
        self._deadline = time.monotonic() + MAX_SECONDS
        self._left = MAX_ENTRIES
        level = [""]
        for depth in range(MAX_DEPTH + 1):
            for folder in level:
                self._list(folder, deeper=depth < MAX_DEPTH)
            level = [_join(parent, name) for parent in level for name in self.folders[parent]]

    def _list(self, folder: str, deeper: bool) -> None:
        files: list[str] = []
        folders: list[str] = []
        most = 0 if self.is_late() else min(self._left, MAX_ENTRIES_PER_FOLDER)
        seen = 0
        try:
            with os.scandir(self.root / folder) as entries:
                for entry in islice(entries, most + 1):
                    seen += 1
                    name = entry.name
                    if name.startswith((".", "~")) or not name.isprintable():
                        continue
                    if len(folder) + len(name) >= MAX_PATH_CHARACTERS:
                        continue
                    # A link to a folder counts as a file, which no one can read; so no loops.
                    if not entry.is_dir(follow_symlinks=False):
                        files.append(name)
                    elif name.lower() not in SKIPPED_FOLDERS:
                        folders.append(name)
        except OSError:
            pass
        if seen > most:
            self.capped.add(folder)
        self._left -= min(seen, most)
        self.files[folder] = sorted(files)
        self.folders[folder] = sorted(folders) if deeper else []

    def is_late(self) -> bool:
        """Whether the time is used up."""
        return time.monotonic() > self._deadline

    def paths(self) -> list[str]:
        """Return all files, as relative paths with slashes, those near the root first."""
        return [_join(folder, name) for folder, names in self.files.items() for name in names]

    def size(self, path: str) -> int:
        """Return the bytes of a regular file; 0 for anything else (pipes and devices too)."""
        try:
            status = (self.root / path).stat()
        except (OSError, ValueError):
            return 0
        return status.st_size if stat.S_ISREG(status.st_mode) else 0

    def read(self, path: str, limit: int = READ_BYTES, start: int = 0) -> bytes:
        """Return at most `limit` bytes of a regular file."""
        if self.is_late() or not self.size(path):
            return b""
        try:
            with (self.root / path).open("rb") as stream:
                stream.seek(start)
                return stream.read(limit)
        except OSError:
            return b""

    def whole_text(self, path: str, limit: int = 2**16) -> str:
        """Return a small UTF-8 text file; nothing where it is larger, binary or unreadable."""
        if self.size(path) > limit:
            return ""
        try:
            return self.read(path, limit).decode("utf-8-sig")
        except UnicodeDecodeError:
            return ""


def suffix(path: str) -> str:
    """Return `.csv` for `data/Train.CSV`."""
    name = path[path.rfind("/") + 1 :]
    dot = name.rfind(".")
    return name[dot:].lower() if dot > 0 else ""


def _join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name
