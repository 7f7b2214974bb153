"""No secret and no data get into an image: what Docker is sent, and what the Dockerfile keeps."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import helpers

pytestmark = pytest.mark.render

# what a project has on a user's machine, besides its own files
STAYS = (
    *(".env", ".env.local", "configs/.env", "src/.env.production", "inference/.env"),
    *(".netrc", "pip.conf", ".pypirc", "id_rsa", "notes.txt", "kaggle.json", ".git/config"),
    *("data/raw/people.csv", "data/processed/train.jsonl", "data/cache/tokens.bin", "sbom.json"),
    *("models/run/config.yaml", "models/run/checkpoints/step-1/model.safetensors"),
    *("models/run/wandb/offline-run-1/run.wandb", "models/mlflow.db", "models/registry/a.json"),
    *(".venv/bin/python", ".ml-template/setup.log", ".copier-answers.yml", "notebooks/x.ipynb"),
    *("scripts/__pycache__/train.pyc", "tests/conftest.py"),
)
SENT = (
    *("pyproject.toml", "requirements.txt", "src/ticket_router/model.py", "scripts/train.py"),
    *("configs/train.yaml", "data/sample/train.csv"),
)
SENT_TO_SERVE = (
    *("inference/app.py", "inference/requirements.txt", "configs/serve.yaml"),
    *("models/run/final/model.safetensors", "models/run/export/config.json"),
)


@pytest.mark.parametrize("serving", [[], ["fastapi"], ["hf_endpoints"]], ids=str)
def test_neither_secrets_nor_data_are_sent_to_the_builder(
    serving: list[str], tmp_path: Path
) -> None:
    project = helpers.copy_project(
        tmp_path / "project", task="text_classification", serving=serving
    )
    patterns = (project / ".dockerignore").read_text("utf-8").splitlines()
    sent = [*SENT, *(SENT_TO_SERVE if "fastapi" in serving else ())]
    assert [name for name in STAYS if is_sent(name, patterns)] == []
    assert [name for name in sent if not is_sent(name, patterns)] == []
    if "fastapi" not in serving:
        assert not any(is_sent(name, patterns) for name in ("inference/app.py", SENT_TO_SERVE[3]))

    dockerfile = (project / "Dockerfile").read_text("utf-8")
    copied = re.findall(r"^COPY (?!--from)(?:--\S+ )*(.+) \S+$", dockerfile, re.MULTILINE)
    for source in " ".join(copied).split():
        if not source.startswith("$"):  # an argument: which model
            assert (project / source).exists() and source != "."
    # ENV and ARG stay in an image for everybody to read
    kept = re.findall(r"^(?:ENV|ARG)\s((?:.*\\\n)*.*)$", dockerfile, re.MULTILINE)
    names = re.findall(r"(\w+)=", "\n".join(kept))
    assert names and not [name for name in names if re.search("KEY|TOKEN|PASS|SECRET|INDEX", name)]
    assert not re.search(r"https?://[^/\s]*@|--(extra-)?index-url", dockerfile)


def is_sent(name: str, patterns: list[str]) -> bool:
    """Whether Docker sends a file: the last pattern counts that fits it or a folder above it."""
    parts = name.split("/")
    places = ["/".join(parts[:length]) for length in range(1, len(parts) + 1)]
    sent = True
    for line in patterns:
        pattern = line.strip()
        if pattern and not pattern.startswith("#"):
            rule = re.compile(translated(pattern.removeprefix("!")))
            if any(rule.fullmatch(place) for place in places):
                sent = pattern.startswith("!")
    return sent


def translated(pattern: str) -> str:
    """Docker's pattern as a regular expression: `**` is any number of folders, `*` stays in one."""
    words = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    pieces = re.split(r"(\*\*/|\*\*|\*|\?)", pattern.strip("/"))
    return "".join(words.get(piece, re.escape(piece)) for piece in pieces)


def test_the_patterns_are_read_as_docker_reads_them() -> None:
    patterns = ["*", "!a", "!m/*/final", "**/.env*", "# !b"]
    for name, expected in (
        *(("a/x/y.py", True), ("b/x.py", False), ("a/.env", False), (".env", False)),
        *(("m/r/final/w", True), ("m/r/s/final/w", False), ("m/r/other", False), ("ab", False)),
    ):
        assert is_sent(name, patterns) == expected, name
