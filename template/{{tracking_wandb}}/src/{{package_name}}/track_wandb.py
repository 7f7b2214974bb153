"""Weights & Biases: online where there is a key, else offline in the run's folder.

No code, console output, git difference, command line, description of this machine or list of its
packages is sent; errors of its library are not reported. How busy the machine is, is sent.
"""

from __future__ import annotations

import netrc
import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

from .credentials import refuse_placeholder
from .errors import ConfigError
from .tracking import TrackedRun

INIT_SECONDS = 10.0  # to reach W&B before the run is recorded offline
MODES = ("online", "offline", "disabled")


def check() -> None:
    """Raise ConfigError for a key or a mode that cannot work."""
    refuse_placeholder(
        "WANDB_API_KEY",
        "put your key there (wandb.ai > User settings > API keys), or unset it: runs are then "
        "recorded offline",
    )
    mode = os.environ.get("WANDB_MODE", MODES[0])
    if mode not in MODES:
        raise ConfigError(f"WANDB_MODE is {mode!r}; set it to one of {', '.join(MODES)}")


def start(run: TrackedRun) -> WandbTracker:
    """Begin a run, or go on with one; offline when W&B cannot be reached."""
    # its errors go to nobody; what it tells, `where` tells in one line
    for name, value in (("WANDB_ERROR_REPORTING", "false"), ("WANDB_SILENT", "true")):
        os.environ.setdefault(name, value)
    import wandb

    asked = os.environ.get("WANDB_MODE")
    mode = asked or ("online" if _has_key(run.server) else "offline")
    why = f"WANDB_MODE is {asked}" if asked else "no WANDB_API_KEY"
    if mode == "online":
        try:
            handle = _init(run, mode)
            return WandbTracker(run, handle, f"wandb: {handle.url}")
        except wandb.errors.Error as error:
            mode, why = "offline", f"not reached: {type(error).__name__}"
            wandb.teardown()
    handle = _init(run, mode)
    if mode == "disabled":
        return WandbTracker(run, handle, f"wandb: nothing is recorded ({why})")
    folder = Path(handle.dir).parent
    later = f"send it later with: wandb sync {folder}"
    return WandbTracker(run, handle, f"wandb: offline ({why}); {later}")


class WandbTracker:
    """One run at W&B."""

    def __init__(self, run: TrackedRun, handle: Any, where: str) -> None:
        self._tracked, self._run = run, handle
        self.id = str(handle.id)
        self.where = where

    def log(self, values: Mapping[str, Any], step: int) -> None:
        """Record the numbers of one step."""
        self._run.log(dict(values), step=step)

    def finish(self, status: str) -> None:
        """Add the run's files, and the model where that is wanted."""
        import wandb

        tracked = self._tracked
        final = tracked.folder / "final"
        try:
            self._run.summary["status"] = status
            for path in tracked.files():
                self._run.save(str(path), base_path=str(tracked.folder), policy="now")
            if status == "done" and final.is_dir():
                self._run.summary["model"] = final.as_posix()
                if tracked.log_model:
                    model = wandb.Artifact(f"{tracked.name}-model", type="model")
                    model.add_dir(str(final))
                    self._run.log_artifact(model)
            if status == "stopped":
                self._run.mark_preempting()  # it will go on
        finally:
            self._run.finish(exit_code=0 if status == "done" else 1)


def _init(run: TrackedRun, mode: Any) -> Any:
    import wandb

    return wandb.init(
        project=run.project,
        name=run.name,
        id=run.id or uuid.uuid4().hex[:12],
        resume="allow" if mode == "online" else None,
        mode=mode,
        dir=str(run.folder),
        config={**run.settings, "run": dict(run.facts)},
        settings=wandb.Settings(
            **({"base_url": run.server} if run.server else {}),
            console="off",
            disable_code=True,
            disable_git=True,
            save_code=False,
            x_disable_meta=True,
            x_save_requirements=False,
            silent=True,
            init_timeout=INIT_SECONDS,
            finish_timeout=run.finish_seconds,
        ),
    )


def _has_key(server: str | None) -> bool:
    """Whether there is a key in the environment, or one that `wandb login` has kept."""
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    address = server or os.environ.get("WANDB_BASE_URL") or "https://api.wandb.ai"
    try:
        return netrc.netrc().authenticators(urlparse(address).hostname or "") is not None
    except (OSError, netrc.NetrcParseError):
        return False
