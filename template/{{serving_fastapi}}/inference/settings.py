"""The service's configuration: every key of `configs/serve.yaml`, its default and its limits."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt
from pydantic_settings import SettingsConfigDict

from .project import (
    ENV_PREFIX,
    ArgumentParser,
    ConfigError,
    Section,
    Settings,
    trained_model,
)

DEFAULT_FILE = Path("configs/serve.yaml")


class ServiceOptions(Section):
    """What is served, and where."""

    model: str | None = None
    """The `final` folder of a run, an exported model, or `registry:NAME@ALIAS`."""
    host: str = "127.0.0.1"
    """Address to listen on; 0.0.0.0 lets other machines in, so set API_KEYS first."""
    port: int = Field(default=8000, ge=0, le=65535)
    """Port to listen on; 0 takes a free one and logs which."""
    device: str = "auto"
    """Where the model runs: auto, cpu, cuda, cuda:1, mps."""
    drain_seconds: NonNegativeFloat = 2.0
    """After SIGTERM: how long requests are still accepted while /readyz says 503.
    Longer than the load balancer takes to notice."""
    shutdown_seconds: PositiveInt = 20
    """How long running requests then have to finish."""
    access_log: bool = False
    """One log line for each request; the input is never logged."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Least severe level that is logged."""


class LimitOptions(Section):
    """What one client can ask for."""

    max_inputs: PositiveInt = 64
    """Inputs in one request."""
    max_input_characters: PositiveInt = 20_000
    """Characters of one input."""
    max_body_bytes: PositiveInt = 1_048_576
    """Bytes of one request body."""
    max_waiting_requests: NonNegativeInt = 32
    """Requests that may wait for the model; the next one is told to come back later."""


class ServeSettings(Settings):
    """Configuration of the service; its variables are `<PACKAGE>_SERVE__SECTION__KEY`."""

    # not training's prefix: each of the two refuses variables that it does not know
    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX.removesuffix("__") + "_SERVE__")

    service: ServiceOptions = ServiceOptions()
    limits: LimitOptions = LimitOptions()


def load_settings(argv: Sequence[str] | None = None) -> tuple[ServeSettings, Path]:
    """Return the settings and the model's folder.

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
    return settings, model_folder(settings.service.model)


def model_folder(text: str | None) -> Path:
    """Check that a model can be there, before the server starts. Raises UserError."""
    if text is None:
        raise ConfigError("no model to serve; name one with --model models/<run>/final")
    path = trained_model(text)
    if not path.is_dir():
        raise ConfigError(f"--model {path}: no such folder; train first or name another run")
    if not any((path / name).is_file() for name in ("config.json", "adapter_config.json")):
        inner = path / "final"
        hint = f"did you mean {inner}?" if inner.is_dir() else "name the `final` folder of a run"
        raise ConfigError(f"--model {path}: there is no config.json in it; {hint}")
    return path
