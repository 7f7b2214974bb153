"""The service's configuration: every key of `configs/serve.yaml`, its default and its limits."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from pydantic_settings import SettingsConfigDict

from .api import MAX_INPUTS
from .fetching import Limits
from .project import (
    ENV_PREFIX,
    ArgumentParser,
    ConfigError,
    Section,
    Settings,
    is_hub_id,
    trained_model,
)
from .runner_options import RunnerOptions

DEFAULT_FILE = Path("configs/serve.yaml")
HUNG_DEADLINES = 4
MODEL_FILES = ("config.json", "adapter_config.json")


class ServiceOptions(Section):
    """What is served, and where."""

    model: str | None = None
    """The `final` folder of a run, an exported model, `registry:NAME@ALIAS`, or a model of the hub
    as `owner/name` or `owner/name@revision`, whose weights are safetensors."""
    host: str = "127.0.0.1"
    """Address to listen on; 0.0.0.0 lets other machines in, so set API_KEYS first."""
    port: int = Field(default=8000, ge=0, le=65535)
    """Port to listen on; 0 takes a free one and logs which."""
    device: str = "auto"
    """Where the model runs: auto, cpu, cuda, cuda:1, mps."""
    threads: NonNegativeInt = 0
    """CPU threads of the model's work; 0 leaves the number to the framework: one a core."""
    drain_seconds: NonNegativeFloat = 2.0
    """After SIGTERM: how long requests are still accepted while /readyz says 503.
    Longer than the load balancer takes to notice."""
    shutdown_seconds: PositiveInt | None = None
    """How long running requests then have to finish; null: two seconds more than
    `limits.deadline_seconds`, so that each gets its answer. Later ones are answered 503."""
    access_log: bool = False
    """One log line for each request; the input is never logged."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Least severe level that is logged."""
    canary: str | None = None
    """JSON file with a request that a model must answer well before it serves; see canary.py."""
    keep_previous: bool = True
    """After a reload: keep the model before for a rollback, which takes the memory of both."""
    open_metrics: bool = False
    """Whether /metrics can be read without an API key."""
    page: bool = True
    """A page at / to try the model in a browser."""
    cors_origins: list[str] = []
    """Origins whose pages may call the service from a browser, as https://app.example.org."""


class LimitOptions(Limits):
    """What one client can ask for."""

    max_inputs: PositiveInt = MAX_INPUTS
    """Inputs in one request."""
    max_body_bytes: PositiveInt = 1_048_576
    """Bytes of one request body."""
    body_seconds: PositiveFloat = 15.0
    """How long a request's head may take to arrive, and then its body."""
    deadline_seconds: PositiveFloat = 30.0
    """How long a client waits at most, and the model works for it; it may ask for less with the
    header X-Request-Timeout."""


class ServeSettings(Settings):
    """Configuration of the service; its variables are `<PACKAGE>_SERVE__SECTION__KEY`."""

    # not training's prefix: each of the two refuses variables that it does not know
    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX.removesuffix("__") + "_SERVE__")

    service: ServiceOptions = ServiceOptions()
    limits: LimitOptions = LimitOptions()
    engine: RunnerOptions = RunnerOptions()

    @property
    def hung_seconds(self) -> float:
        """After which work that should have been done by a deadline is taken to hang."""
        return HUNG_DEADLINES * self.limits.deadline_seconds

    @property
    def end_seconds(self) -> int:
        """How long running requests have to finish after the last one was accepted."""
        return self.service.shutdown_seconds or math.ceil(self.limits.deadline_seconds) + 2


def load_settings(argv: Sequence[str] | None = None) -> ServeSettings:
    """Return the settings; that there can be a model is checked, but for one of the hub.

    `--model`, `--host` and `--port` are short for `--service.model` and so on; without
    `--config`, configs/serve.yaml is read where it exists. Raises ConfigError.
    """
    parser = ArgumentParser(prog="python -m inference", description="Serve a trained model.")
    for name in ("model", "host", "port"):
        key = f"service.{name}"
        help_text = f"short for --{key}"
        parser.add_argument(
            f"--{name}", dest=key, default=argparse.SUPPRESS, metavar="VALUE", help=help_text
        )
    argv = list(sys.argv[1:] if argv is None else argv)
    if DEFAULT_FILE.is_file() and not any(word.split("=")[0] == "--config" for word in argv):
        argv = ["--config", str(DEFAULT_FILE), *argv]
    settings, _ = ServeSettings.load(argv, parser)
    model = settings.service.model
    if model is None:
        raise ConfigError("no model to serve; name one with --model models/<run>/final")
    if not is_hub_id(model):  # which would be downloaded, and may take minutes
        model_folder(model)
    return settings


def model_folder(text: str) -> Path:
    """The folder of the model that is named. Raises UserError where there can be none in it."""
    path = trained_model(text)
    if path.is_file():
        raise ConfigError(f"--model {path}: this is a file; name its folder {path.parent}")
    if not path.is_dir():
        raise ConfigError(f"--model {path}: no such folder; train first or name another run")
    if not any((path / name).is_file() for name in MODEL_FILES):
        inner = path / "final"
        hint = f"did you mean {inner}?" if inner.is_dir() else "name the `final` folder of a run"
        raise ConfigError(f"--model {path}: there is no config.json in it; {hint}")
    return path
