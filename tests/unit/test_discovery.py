"""What a folder says of its project: framework, trackers, metadata."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from data_folders import table, tickets, write
from extensions.discovery import discover
from extensions.findings import Found

pytestmark = pytest.mark.unit


# ── Framework and trackers ───────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "files, framework, reason",
    [
        (
            {"requirements.txt": "# ours\ntorch>=2\nTransformers[torch]==5 ; python_version>'3'\n"},
            "transformers",
            "requirements.txt names transformers",
        ),
        ({"requirements/train.txt": "-r base.txt\ntorch\n"}, "pytorch", "names torch"),
        (
            {"pyproject.toml": '[project]\nname = "a"\ndependencies = ["flax>=0.8", "jax"]\n'},
            "jax",
            "pyproject.toml names flax",
        ),
        (
            {"pyproject.toml": '[dependency-groups]\ntrain = ["pytorch_lightning", {x = "y"}]\n'},
            "pytorch",
            "names pytorch-lightning",
        ),
        ({"pyproject.toml": '[tool.poetry.dependencies]\nkeras = "^3"\n'}, "keras", "names keras"),
        (
            {"pyproject.toml": '[tool.poetry.group.dev.dependencies]\npeft = "*"\n'},
            "transformers",
            "names peft",
        ),
        ({"setup.cfg": "[options]\ninstall_requires =\n  torch\n  tqdm\n"}, "pytorch", "setup.cfg"),
        ({"setup.py": "setup(install_requires=['numpy', \"jax>=0.4\"])\n"}, "jax", "setup.py"),
        ({"Pipfile": '[packages]\ntensorflow = "*"\n'}, "keras", "Pipfile names tensorflow"),
        (
            {"environment.yml": "dependencies:\n  - python=3.11\n  - pytorch::torch\n"},
            "pytorch",
            "environment.yml names torch",
        ),
        ({"train.py": "import os, torch.nn as nn\n"}, "pytorch", "train.py imports torch"),
        ({"src/a/b.py": "from jax import numpy\n"}, "jax", "src/a/b.py imports jax"),
        (
            {"explore.ipynb": json.dumps({"cells": [{"source": ["import keras\n"]}]}, indent=1)},
            "keras",
            "explore.ipynb imports keras",
        ),
        ({"a.py": "import jax\n", "b.py": "import transformers\n"}, "jax", "a.py imports jax"),
        ({"a.py": "# import torch\nx = 'torch'\n"}, None, ""),
        ({".venv/lib/x.py": "import torch\n", "node_modules/y.py": "import jax\n"}, None, ""),
        ({"README.md": "This uses torch.\n"}, None, ""),
    ],
)
def test_the_framework_is_known_from_requirements_or_imports(
    tmp_path: Path, files: dict[str, str | bytes], framework: str | None, reason: str
) -> None:
    found = discover(write(tmp_path, files))
    assert found.framework == framework
    assert reason in found.framework_reason


def test_trackers_are_found(tmp_path: Path) -> None:
    write(tmp_path, {"requirements.txt": "mlflow==3\n", "train.py": "import wandb\n"})
    found = discover(tmp_path)
    assert found.tracking == ["wandb", "mlflow"]
    assert found.tracking_reason == "train.py imports wandb, requirements.txt names mlflow"


# ── Metadata ─────────────────────────────────────────────────────────────────────────────────────


def test_metadata_comes_from_pyproject(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "pyproject.toml": '[project]\nname = "ticket-router"\ndescription = " Sorts tickets "\n'
            'requires-python = ">=3.11"\nlicense = {text = "MIT"}\n'
        },
    )
    found = discover(tmp_path)
    assert (found.project_name, found.description) == ("ticket-router", "Sorts tickets")
    assert (found.requires_python, found.license) == (">=3.11", "MIT")


def test_metadata_comes_from_setup_cfg(tmp_path: Path) -> None:
    text = (
        "[metadata]\nname = router\ndescription = 100% ours\n[options]\npython_requires = >=3.9\n"
    )
    found = discover(write(tmp_path, {"setup.cfg": text}))
    assert (found.project_name, found.description) == ("router", "100% ours")
    assert found.requires_python == ">=3.9"


def test_a_description_that_is_no_line_is_left_out(tmp_path: Path) -> None:
    text = '[project]\nname = "x"\ndescription = "two\\nlines"\n'
    assert discover(write(tmp_path, {"pyproject.toml": text})).description is None


@pytest.mark.parametrize(
    "text, license",
    [
        ("Apache License\n   Version 2.0, January 2004\n", "Apache-2.0"),
        ("Permission is hereby granted, free of\ncharge, to … without restriction\n", "MIT"),
        (
            "Copyright. All rights reserved.\nRedistribution and use in source and binary forms, … "
            "are permitted. Neither the name of …\n",
            "BSD-3-Clause",
        ),
        ("Copyright 2026 Example Ltd. All rights reserved.\n", "proprietary"),
        ("GNU GENERAL PUBLIC LICENSE Version 3 … free software …\n", None),
    ],
)
def test_the_licence_is_recognised(tmp_path: Path, text: str, license: str | None) -> None:
    assert discover(write(tmp_path, {"LICENSE": text})).license == license


@pytest.mark.parametrize(
    "address, page",
    [
        ("git@example.org:ada/ticket-router.git", "https://example.org/ada/ticket-router"),
        (
            "https://ada:secret@git.example.org/a/b/ticket-router.git/",
            "https://git.example.org/a/b/ticket-router",
        ),
        (
            "ssh://git@git.example.org:2222/ada/ticket-router",
            "https://git.example.org/ada/ticket-router",
        ),
        ("/srv/git/ticket-router.git", None),
        ("https://secret@/ticket-router", None),
    ],
)
def test_the_remote_is_read_without_its_password(
    tmp_path: Path, address: str, page: str | None
) -> None:
    other = '[remote "fork"]\n\turl = https://example.org/x/fork\n'
    config = f'[core]\n\tbare = false\n{other}[remote "origin"]\n\turl = {address}\n\tfetch = +x\n'
    found = discover(write(tmp_path, {".git/config": config}))
    assert found.project_name == "ticket-router"
    assert "secret" not in repr(found)
    assert found.git_remote == page


# ── No project of a user ──


@pytest.mark.parametrize("name", ["missing", "a file"])
def test_nothing_is_found_where_there_is_no_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / "a file").write_text("x", "utf-8")
    assert discover(tmp_path / name) == Found()


def test_a_generated_project_is_not_looked_at(tmp_path: Path) -> None:
    """Its answers are stored; an update must not change them."""
    write(tmp_path, {".copier-answers.yml": "_src_path: x\n", "train.py": "import torch\n"})
    write(tmp_path, {"train.csv": table(["text", "label"], tickets())})
    assert discover(tmp_path) == Found()
