"""Lines of the log: whole, and without keys."""

from __future__ import annotations

import json
import logging

import pytest

from inference.logs import JsonFormatter

KEY = "a-key-of-this-test-0123"  # pragma: allowlist secret


def test_no_part_of_a_line_holds_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_API_KEY", KEY)
    record = logging.makeLogRecord({"msg": f"with {KEY}", "fields": {"why": KEY, "seconds": 2.0}})
    line = json.loads(JsonFormatter().format(record))
    assert (line["message"], line["why"], line["seconds"]) == ("with ***", "***", 2.0)
