"""A run's folder: whether training starts, goes on or is done, and the record it leaves."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from .checkpoints import Checkpoints, damage, is_checkpoint, step_of
from .config import Config
from .errors import ConfigError
from .settings import flat, read_yaml

# keys that may differ between a run and its continuation
FREE_KEYS = {
    f"train.{key}"
    for key in (
        "output_dir epochs max_steps micro_batch_size log_every eval_every save_every "
        "keep_checkpoints resume activation_checkpointing early_stopping_patience final_model "
        "loss_head compile profile_steps"
    ).split()
} | {"data.cache_dir"}


@dataclass(frozen=True)
class Run:
    """Where a run keeps its files; `checkpoint` is the one to go on from."""

    path: Path
    checkpoints: Checkpoints
    checkpoint: Path | None
    set_aside: bool = False

    @property
    def start(self) -> int:
        """Optimizer steps already done."""
        return step_of(self.checkpoint) if self.checkpoint else 0

    @property
    def final(self) -> Path:
        """The trained model."""
        return self.path / "final"

    @property
    def processor(self) -> Path:
        """The tokenizer, or what else makes the model's inputs, that it started with."""
        return self.path / "processor"

    @property
    def metrics(self) -> Path:
        """One JSON object a line."""
        return self.path / "metrics.jsonl"

    def create(self, config: Config, say: Callable[[str], None]) -> None:
        """Make the folder; an earlier run that must not be mixed in gets a new name."""
        try:
            if self.set_aside and self.path.is_dir() and any(self.path.iterdir()):
                self._keep_aside(say)
            self.path.mkdir(parents=True, exist_ok=True)
            config.write_yaml(self.path / "config.yaml")
        except OSError as error:
            raise ConfigError(
                f"train.output_dir: {self.path} cannot be written ({error.strerror})"
            ) from None

    def _keep_aside(self, say: Callable[[str], None]) -> None:
        if not (self.path / "config.yaml").is_file():
            raise ConfigError(
                f"train.output_dir: {self.path} holds files that are no run; name another folder"
            )
        number = 1
        while (aside := self.path.with_name(f"{self.path.name}-previous-{number}")).exists():
            number += 1
        self.path.rename(aside)
        say(f"the earlier run is kept as {aside}")

    def seconds_before(self) -> float:
        """Seconds that a run which goes on has taken until it was stopped."""
        if not self.checkpoint:
            return 0.0
        return float(read_json(self.path / "run.json").get("seconds") or 0)

    def record(self, **facts: Any) -> None:
        """Add facts to run.json."""
        path = self.path / "run.json"
        write_json(path, {**read_json(path), **facts})


def plan_run(config: Config, data_sha256: str, say: Callable[[str], None]) -> Run:
    """Decide by `train.resume` where to start; nothing is written yet.

    A finished run with other settings will be set aside. Raises ConfigError when an
    unfinished run was started with settings that do not allow going on.
    """
    path, resume = config.train.output_dir, config.train.resume
    checkpoints = Checkpoints(path / "checkpoints", config.train.keep_checkpoints)
    checkpoint: Path | None = None
    if resume == "never":
        return Run(path, checkpoints, None, set_aside=True)
    if resume != "auto":
        checkpoint = Path(resume)
        problem = damage(checkpoint) if checkpoint.is_dir() else "there is no such folder"
        if not problem and not is_checkpoint(checkpoint):
            problem = "it is no checkpoint, which is called `step-` and a number"
        if problem:
            raise ConfigError(
                f"train.resume: {resume}: {problem}; name a whole one in a run's checkpoints/"
            )
    elif _holds_run(path):
        changed = _changed(config, data_sha256, path)
        if changed and read_json(path / "run.json").get("status") == "done":
            return Run(path, checkpoints, None, set_aside=True)
        checkpoint = checkpoints.newest(say)
        if changed and checkpoint:
            raise ConfigError(
                f"{path} holds an unfinished run with another {', '.join(changed)}; set "
                "train.output_dir to a new folder, or train.resume to never to start over"
            )
    return Run(path, checkpoints, checkpoint)


def run_of(checkpoint: Path) -> Path:
    """The folder of the run that wrote a checkpoint."""
    return checkpoint.absolute().parent.parent


def _holds_run(path: Path) -> bool:
    try:
        return (path / "config.yaml").is_file()
    except OSError as error:
        raise ConfigError(f"train.output_dir: {path} cannot be read ({error.strerror})") from None


def _changed(config: Config, data_sha256: str, path: Path) -> list[str]:
    """Keys that differ from the run at `path` and decide what is learnt."""
    kept = read_yaml(path / "config.yaml")
    try:
        # a key that came with an update has its default there too
        kept = Config.checked(kept).model_dump(mode="json")
    except ConfigError:
        pass  # a key that went: compared as it stands
    before = flat(kept)
    now = flat(config.model_dump(mode="json"))
    keys = sorted(set(before) | set(now))
    changed = [
        key
        for key in keys
        if key not in FREE_KEYS
        and not key.startswith("tracking.")
        and before.get(key) != now.get(key)
    ]
    if not changed and read_json(path / "run.json").get("data_sha256", data_sha256) != data_sha256:
        changed = ["content of the data files"]
    return changed


def environment() -> dict[str, Any]:
    """What a run's numbers depend on besides its configuration."""
    packages = ("torch", "transformers", "peft", "tokenizers", "numpy")
    versions = {}
    for package in packages:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        **versions,
        **_git_state(),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _git_state() -> dict[str, Any]:
    """The commit, and whether files differ from it; nothing outside a repository."""
    commit = _git("rev-parse", "HEAD")
    if not commit:
        return {}
    return {"git_commit": commit, "git_dirty": bool(_git("status", "--porcelain"))}


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", *arguments], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None


def read_json(path: Path) -> dict[str, Any]:
    """The object in `path`; empty when the file is missing or damaged."""
    try:
        loaded = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return loaded if isinstance(loaded, dict) else {}


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Replace `path` by `values` in one move."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.writing")
    temporary.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
    temporary.replace(path)
