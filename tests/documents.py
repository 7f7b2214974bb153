"""Commands and files in the pages of docs/, for tests that do what a page says.

A `sh` block is run. `<!-- not run: WHY -->` before it says that no test can, and why; after
`<!-- stays running -->` the next blocks run while it does.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_BLOCK = re.compile(
    r"(?:^<!-- (?P<note>[^\n]+?) -->\n\n?|^`(?P<path>[^`\n]+)`:\n\n)?"
    r"^```(?P<language>\w*)(?: title=\"(?P<title>[^\"]+)\")?\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
NOT_RUN = "not run: "
STAYS = "stays running"


@dataclass(frozen=True)
class Block:
    """A fenced block, and the comment right before it."""

    language: str
    title: str
    """The file that it shows: title="…", or before it a line with the path alone, and a colon."""
    text: str
    note: str

    @property
    def is_run(self) -> bool:
        """Whether a test runs it."""
        return self.language == "sh" and not self.note.startswith(NOT_RUN)

    @property
    def stays(self) -> bool:
        """Whether it goes on while the next blocks run."""
        return self.note == STAYS


def blocks(page: Path) -> list[Block]:
    """Return the page's fenced blocks, in order."""
    found = _BLOCK.finditer(page.read_text("utf-8"))
    return [
        Block(m["language"], m["title"] or m["path"] or "", m["text"], m["note"] or "")
        for m in found
    ]


def commands(page: Path) -> list[Block]:
    """Return the blocks that a test runs."""
    return [block for block in blocks(page) if block.is_run]
