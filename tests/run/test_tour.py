"""docs/tour.md, followed word for word: from nothing to a model that answers over HTTP."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import bootstrap
import pytest

import documents
import helpers
import terminals
from projects import outside_make, tool_environment

pytestmark = pytest.mark.run

PAGE = helpers.ROOT / "docs" / "tour.md"


def test_the_tour_leads_to_a_served_model(tmp_path: Path) -> None:
    """All commands in one shell, as in one terminal; what stays is stopped at the end."""
    uvx = terminals.uvx(tmp_path / "programs")
    environment = {**outside_make(), **tool_environment()}
    environment |= {"HF_HUB_OFFLINE": "1", "ML_TEMPLATE_STRICT": "1"}
    environment["PATH"] = f"{uvx.parent}{os.pathsep}{environment['PATH']}"
    lines = ["set -euo pipefail", "set -m"]  # each command in a group of its own
    for block in documents.commands(PAGE):
        text = block.text.replace(bootstrap.SOURCE, str(helpers.snapshot()))
        if block.stays:
            lines += [f"{text.rstrip()} >served.log 2>&1 &", "trap 'kill -TERM -$!; wait' EXIT"]
        else:
            lines.append(f"printf '%s\\n' '== block =='\n{text}")
    done = subprocess.run(
        ["bash", "-c", "\n".join(lines)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    project = tmp_path / "ticket-router"
    for made in ("report.html", "evaluation.json", "final/model.safetensors", "export"):
        assert (project / "models/run" / made).exists(), made
    # curl ends no line, so that one answer stands behind the other
    answer, _ = json.JSONDecoder().raw_decode(done.stdout[done.stdout.index('{"outputs"') :])
    assert answer["outputs"][0]["label"]
    assert " passed" in done.stdout
