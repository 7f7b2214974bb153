"""Hand pip's configuration (mirrors, certificate, proxy) on to uv, which does not read it.

What the user set for uv itself always wins.
"""

from __future__ import annotations

import ast
import configparser
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple


class Setting(NamedTuple):
    """A setting of pip, uv's variable for it, and what else in uv says that it is decided."""

    pip: str
    uv: str
    decided_by: tuple[str, ...] = ()
    decided_in_file: tuple[str, ...] = ()


SETTINGS = (
    Setting("index-url", "UV_DEFAULT_INDEX", ("UV_INDEX_URL",), ("index-url", "default-index")),
    Setting("extra-index-url", "UV_INDEX", ("UV_EXTRA_INDEX_URL",), ("index", "extra-index-url")),
    Setting("find-links", "UV_FIND_LINKS", (), ("find-links",)),
    Setting("no-index", "UV_NO_INDEX", (), ("no-index",)),
    Setting("cert", "SSL_CERT_FILE", ("SSL_CERT_DIR", "UV_SYSTEM_CERTS", "UV_NATIVE_TLS")),
    Setting("client-cert", "SSL_CLIENT_CERT"),
    Setting("proxy", "HTTPS_PROXY", ("https_proxy", "ALL_PROXY", "all_proxy")),
    Setting("proxy", "HTTP_PROXY", ("http_proxy", "ALL_PROXY", "all_proxy")),
    Setting("trusted-host", "UV_INSECURE_HOST", (), ("allow-insecure-host",)),
    Setting("timeout", "UV_HTTP_TIMEOUT", ("UV_REQUEST_TIMEOUT",)),
    Setting("retries", "UV_HTTP_RETRIES"),
    Setting("keyring-provider", "UV_KEYRING_PROVIDER", (), ("keyring-provider",)),
)
SOURCES = ("UV_DEFAULT_INDEX", "UV_INDEX", "UV_FIND_LINKS", "UV_NO_INDEX")


def parse(listing: str) -> dict[str, str]:
    """Read `pip config list`: lines such as `global.index-url='…'` and `:env:.cert='…'`.

    Environment variables win over the section of `pip install`, and that over `global`.
    """
    found: dict[str, dict[str, str]] = {}
    for line in listing.splitlines():
        if entry := re.match(r"(global|install|:env:)\.([\w-]+)=(.+)", line.strip()):
            try:
                value = str(ast.literal_eval(entry[3]))
            except (ValueError, SyntaxError):
                continue
            found.setdefault(entry[1], {})[entry[2].replace("_", "-")] = value
    merged: dict[str, str] = {}
    for section in ("global", "install", ":env:"):
        merged |= found.get(section, {})
    if "default-timeout" in merged:
        merged.setdefault("timeout", merged.pop("default-timeout"))
    return {key: value for key, value in merged.items() if value.strip()}


def read(cwd: Path, pythons: Iterable[str] = (sys.executable, "python3", "python")) -> str:
    """Return `pip config list` of the first Python that has pip.

    Where none has (Copier's own Python, a slim image) the same files are read here.
    """
    for python in pythons:
        program = shutil.which(python)
        if program is None:
            continue
        done = subprocess.run(
            [program, "-m", "pip", "config", "list"],
            cwd=cwd,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        if done.returncode == 0:
            return done.stdout
    return _read_files()


def _read_files() -> str:
    config = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    files = [
        Path("/etc/pip.conf"),
        Path.home() / ".pip/pip.conf",
        Path(config) / "pip/pip.conf",
        Path.home() / "Library/Application Support/pip/pip.conf",
        Path(os.environ.get("APPDATA", config)) / "pip/pip.ini",
        Path(os.environ.get("PIP_CONFIG_FILE", os.devnull)),
    ]
    parser = configparser.RawConfigParser(strict=False)
    try:
        parser.read(files, encoding="utf-8")
    except configparser.Error:
        return ""
    lines = [
        f"{section}.{key}={value!r}"
        for section in parser.sections()
        for key, value in parser.items(section)
    ]
    lines += [
        f":env:.{name[4:].lower().replace('_', '-')}={value!r}"
        for name, value in os.environ.items()
        if name.startswith("PIP_")
    ]
    return "\n".join(lines)


def for_uv(
    pip: Mapping[str, str], env: Mapping[str, str], uv_files: Iterable[str] = ()
) -> dict[str, str]:
    """Return the variables to add for uv: pip's settings that uv has not been told otherwise."""
    files = set(uv_files)
    added: dict[str, str] = {}
    for setting in SETTINGS:
        value = pip.get(setting.pip)
        taken = any(name in env for name in (setting.uv, *setting.decided_by))
        if not value or taken or files.intersection(setting.decided_in_file):
            continue
        match setting.pip:
            case "find-links":
                value = ",".join(map(_without_comma, value.split()))
            case "extra-index-url" | "trusted-host":
                value = " ".join(value.split())
            case "proxy" if "://" not in value:
                value = f"http://{value}"
            case "timeout" | "retries":
                if not re.fullmatch(r"\d+(\.\d*)?", value):
                    continue
                value = value.partition(".")[0]
            case "no-index":
                if value.lower() not in {"1", "true", "yes", "on"}:
                    continue
                value = "true"
            case "keyring-provider":
                value = "disabled" if value == "disabled" else "subprocess"
        added[setting.uv] = value
    # pip takes the best version of all its indexes; uv by default takes the first index that
    # knows a name. So a mirror of a few packages would hide the rest: follow pip, but only where
    # the several indexes are pip's, since for uv's own the user chose uv's (safer) rule.
    if "UV_INDEX" in added and "UV_INDEX_STRATEGY" not in env and "index-strategy" not in files:
        added["UV_INDEX_STRATEGY"] = "unsafe-best-match"
    return added


def _without_comma(location: str) -> str:
    """Commas separate UV_FIND_LINKS."""
    if "," in location and "://" not in location:
        location = Path(location).absolute().as_uri()
    return location.replace(",", "%2C")


def uv_file_settings(root: Path, env: Mapping[str, str]) -> set[str]:
    """Return which settings uv's own files make, such as {"index-url", "torch-backend"}."""
    if env.get("UV_NO_CONFIG"):
        return set()
    home = Path(env.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    files = [root / "uv.toml", home / "uv/uv.toml", Path("/etc/uv/uv.toml")]
    if os.name == "nt":
        files += [Path(env.get("APPDATA", str(home))) / "uv/uv.toml"]
    if "UV_CONFIG_FILE" in env:
        files = [Path(env["UV_CONFIG_FILE"])]
    tables = [_toml(path) for path in files]
    tables.append(_toml(root / "pyproject.toml").get("tool", {}).get("uv", {}))
    found: set[str] = set()
    for table in tables:
        found |= {*table, *table.get("pip", {})}
        if any(index.get("default") for index in table.get("index", [])):
            found.add("default-index")
    return found


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
