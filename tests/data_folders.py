"""Folders with data of a user, for the tests of what is found in them."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from extensions.discovery import discover
from extensions.findings import DataFile

# Written by pyarrow 26 without statistics: 3 rows with `text` and `label`; 4 with `messages`, a
# list of {role, content}, and `id`.
PARQUET_CLASSES = (
    "UEFSMRUAFTYVNiwVBhUAFQYVBhwAAAACAAAABgEDAAAAYSBiAwAAAGMgZAMAAABlIGYVABU8FTwsFQYVABUGFQYcAAAAAgAA"
    "AAYBAAAAAAAAAAABAAAAAAAAAAAAAAAAAAAAFQQZPDUAGAZzY2hlbWEVBAAVDCUCGAR0ZXh0JQBMHAAAABUEJQIYBWxhYmVs"
    "ABYGGRwZLCYAHBUMGSUGABkYBHRleHQVABYGFlwWXCYISRwVABUAFQIAPBYSGQYZJgAGAAAAJgAcFQQZJQYAGRgFbGFiZWwV"
    "ABYGFmIWYiZkSRwVABUAFQIAPCkGGSYABgAAABa+ARYGJggWvgEAKCBwYXJxdWV0LWNwcC1hcnJvdyB2ZXJzaW9uIDI2LjAu"
    "MRksHAAAHAAAAMcAAABQQVIx"
)
PARQUET_MESSAGES = (
    "UEFSMRUAFVgVWCwVCBUAFQYVBhwAAAACAAAACAACAAAACAQEAAAAdXNlcgQAAAB1c2VyBAAAAHVzZXIEAAAAdXNlchUAFUAV"
    "QCwVCBUAFQYVBhwAAAACAAAACAACAAAACAQBAAAAeAEAAAB4AQAAAHgBAAAAeBUAFUwVTCwVCBUAFQYVBhwAAAACAAAACAEB"
    "AAAAAAAAAAIAAAAAAAAAAwAAAAAAAAAEAAAAAAAAABUEGXw1ABgGc2NoZW1hFQQANQIYCG1lc3NhZ2VzFQIVBkw8AAAANQQY"
    "BGxpc3QVAgA1AhgHZWxlbWVudBUEABUMJQIYBHJvbGUlAEwcAAAAFQwlAhgHY29udGVudCUATBwAAAAVBCUCGAJpZAAWCBkc"
    "GTwmABwVDBklBgAZSAhtZXNzYWdlcwRsaXN0B2VsZW1lbnQEcm9sZRUAFggWfhZ+JghJHBUAFQAVAgA8FiAZJggAGVYAAAAA"
    "CAAAACYAHBUMGSUGABlICG1lc3NhZ2VzBGxpc3QHZWxlbWVudAdjb250ZW50FQAWCBZmFmYmhgFJHBUAFQAVAgA8FggZJggA"
    "GVYAAAAACAAAACYAHBUEGSUGABkYAmlkFQAWCBZyFnIm7AFJHBUAFQAVAgA8KQYZJgAIAAAAFtYCFggmCBbWAgAoIHBhcnF1"
    "ZXQtY3BwLWFycm93IHZlcnNpb24gMjYuMC4xGTwcAAAcAAAcAAAAcAEAAFBBUjE="
)


def write(folder: Path, files: dict[str, str | bytes]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return folder


def table(header: Sequence[str], rows: Sequence[Sequence[Any]], delimiter: str = ",") -> str:
    stream = io.StringIO()
    csv.writer(stream, delimiter=delimiter).writerows([header, *rows])
    return stream.getvalue()


def lines(rows: Sequence[Any]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def tickets(count: int = 40) -> list[list[str]]:
    topics = ("billing", "delivery", "login", "other")
    return [[f"my request number {i} is about this", topics[i % 4]] for i in range(count)]


def data_of(folder: Path) -> DataFile:
    found = discover(folder).data
    assert found is not None
    return found


CHAT = [{"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yes"}]}]
