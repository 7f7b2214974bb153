"""What the folder that a project is copied into already says: code, metadata and data.

Used for defaults, at the first copy only; whatever it decides is stored as an answer. Files are
read, never run; what cannot be read is as if it were not there, and nothing is raised.
"""

from __future__ import annotations

import configparser
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from .. import names
from ..findings import Found
from .data import find
from .folder import Folder, suffix

MAX_CODE_FILES = 100
CODE_BYTES = 2**14
"""As much of a program as is looked through for imports, which stand at its top."""
NOTEBOOK_BYTES = 2**16
MAX_TOML_LINE = 4_000

FRAMEWORKS = {
    "transformers": ("transformers", "trl", "peft", "sentence-transformers"),
    "pytorch": ("torch", "lightning", "pytorch-lightning", "torchvision", "torchaudio", "timm"),
    "jax": ("jax", "flax", "equinox", "optax"),
    "keras": ("keras", "tensorflow"),
}
TRACKERS = ("wandb", "mlflow")

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
# In a notebook, which is JSON, a line begins with a quote.
_IMPORT = re.compile(r"""(?m)^[ \t]*(?:"[ \t]*)?(?:from[ \t]+(\w+)|import[ \t]+([\w., \t]+))""")
_LICENSES = {
    "Apache-2.0": ("apache license", "version 2.0"),
    "MIT": ("permission is hereby granted, free of charge", "without restriction"),
    "BSD-3-Clause": ("redistribution and use in source and binary forms", "neither the name"),
}


class Mention(NamedTuple):
    """A package, and the file which names or imports it."""

    package: str
    said: str


def discover(folder: Path) -> Found:
    """Look through a folder; one that holds a generated project, or nothing, gives nothing."""
    listed = Folder(folder)
    if listed.size(".copier-answers.yml"):
        return Found()
    metadata = _Metadata(listed)
    mentions = [*metadata.mentions(), *_imports(listed)]
    framework, framework_reason = _framework(mentions)
    tracked = {m.package: m.said for m in reversed(mentions) if m.package in TRACKERS}
    data = find(listed)
    remote = _git_remote(listed.whole_text(".git/config"))
    page = _page(remote)
    return Found(
        framework=framework,
        framework_reason=framework_reason,
        tracking=[name for name in TRACKERS if name in tracked],
        tracking_reason=", ".join(tracked[name] for name in TRACKERS if name in tracked),
        data=data,
        task=data.task if data else None,
        task_reason=data.description if data and data.task else "",
        git_remote=page,
        project_name=metadata.line("name", 60) or _last_part(remote),
        description=metadata.line("description", 200),
        requires_python=metadata.line("requires-python", 60),
        license=metadata.license(),
    )


# ── Packages ─────────────────────────────────────────────────────────────────────────────────────


def _framework(mentions: Iterable[Mention]) -> tuple[str | None, str]:
    by_framework: dict[str, list[str]] = {}
    for framework, packages in FRAMEWORKS.items():
        said = [mention.said for mention in mentions if mention.package in packages]
        if said:
            by_framework[framework] = said
    if not by_framework:
        return None, ""
    chosen = max(by_framework, key=lambda framework: len(by_framework[framework]))
    # Beside torch, transformers trains; beside JAX or Keras it is often the tokenizer alone.
    if "transformers" in by_framework and (
        "pytorch" in by_framework or not by_framework.keys() & {"jax", "keras"}
    ):
        chosen = "transformers"
    elif chosen == "transformers":
        chosen = "jax" if "jax" in by_framework else "keras"
    return chosen, by_framework[chosen][0]


def _imports(folder: Folder) -> Iterator[Mention]:
    """Yield what programs and notebooks import, one mention a file and package."""
    code = [path for path in folder.paths() if suffix(path) in (".py", ".ipynb")]
    for path in code[:MAX_CODE_FILES]:
        limit = CODE_BYTES if suffix(path) == ".py" else NOTEBOOK_BYTES
        text = folder.read(path, limit).decode("utf-8", "replace")
        listed = (first or rest for first, rest in _IMPORT.findall(text))
        imported = (name.strip().partition(".")[0] for line in listed for name in line.split(","))
        for package in dict.fromkeys(_normal(name.split()[0]) for name in imported if name.strip()):
            yield Mention(package, f"{path} imports {package}")


def _requirements(text: str) -> Iterator[str]:
    for line in text.splitlines():
        name = _NAME.match(line.strip())
        if name:
            yield name.group()


def _conda_names(text: str) -> Iterator[str]:
    """Yield the items of lists in environment.yml; what is no package is found nowhere later."""
    yield from re.findall(r"(?m)^[ \t]*-[ \t]+[\"']?(?:[\w-]+::)?([A-Za-z][\w.-]*)", text)


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


# ── Metadata ─────────────────────────────────────────────────────────────────────────────────────


class _Metadata:
    """pyproject.toml, setup.cfg and lists of requirements."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._toml = _toml(folder.whole_text("pyproject.toml"))
        self._cfg = _ini(folder.whole_text("setup.cfg"))
        self._project = _table(self._toml, "project")
        self._poetry = _table(self._toml, "tool", "poetry")

    def line(self, key: str, characters: int) -> str | None:
        """Return a value of the metadata that is fit to stand on a line."""
        section, option = {
            "requires-python": ("options", "python_requires"),
        }.get(key, ("metadata", key))
        values = (
            self._project.get(key),
            self._poetry.get(key),
            _table(self._poetry, "dependencies").get("python") if "python" in key else None,
            _option(self._cfg, section, option),
        )
        fit = (names.as_line(v.strip(), characters) for v in values if isinstance(v, str))
        return next(filter(None, fit), None)

    def mentions(self) -> Iterator[Mention]:
        """Yield the packages that are required."""
        for path, packages in self._required():
            for package in dict.fromkeys(map(_normal, packages)):
                yield Mention(package, f"{path} names {package}")

    def _required(self) -> Iterator[tuple[str, Iterable[str]]]:
        yield "pyproject.toml", self._in_toml()
        for path in self._folder.paths():
            name = path.rpartition("/")[2].lower()
            if re.fullmatch(r"(?:.*/)?requirements(?:[^/]*|/[^/]*)\.(?:txt|in)", path):
                yield path, _requirements(self._folder.whole_text(path))
            elif path.count("/") == 0 and re.fullmatch(r"(environment|conda).*\.ya?ml", name):
                yield path, _conda_names(self._folder.whole_text(path))
        requires = _option(self._cfg, "options", "install_requires")
        yield "setup.cfg", _requirements(requires)
        pipfile = _toml(self._folder.whole_text("Pipfile"))
        yield "Pipfile", [*_table(pipfile, "packages"), *_table(pipfile, "dev-packages")]
        listed = re.search(
            r"(?:install_requires|requirements?)\s*=\s*\[([^\]]{0,4000})\]",
            self._folder.whole_text("setup.py"),
        )
        quoted = re.findall(r"[\"']([^\"'\n]+)", listed.group(1)) if listed else []
        yield "setup.py", _requirements("\n".join(quoted))

    def _in_toml(self) -> Iterator[str]:
        lists = [
            self._project.get("dependencies"),
            *_table(self._project, "optional-dependencies").values(),
            *_table(self._toml, "dependency-groups").values(),
        ]
        for entries in lists:
            if isinstance(entries, list):
                yield from _requirements("\n".join(e for e in entries if isinstance(e, str)))
        yield from _table(self._poetry, "dependencies")
        for group in _table(self._poetry, "group"):
            yield from _table(self._poetry, "group", group, "dependencies")

    def license(self) -> str | None:
        """Return the licence that a LICENSE file or the metadata names, if it is offered."""
        for name in ("LICENSE", "LICENSE.txt", "LICENSE.md", "LICENCE", "COPYING"):
            text = " ".join(self._folder.whole_text(name).lower().split())
            for identifier, phrases in _LICENSES.items():
                if all(phrase in text for phrase in phrases):
                    return identifier
            if text:
                # All of them reserve all rights somewhere; this one grants none.
                grants = re.search(r"permission|permitted|free software|public domain", text)
                return None if grants or "all rights reserved" not in text else "proprietary"
        stated = self._project.get("license") or self._poetry.get("license")
        if isinstance(stated, dict):
            stated = stated.get("text")
        folded = {name.lower(): name for name in _LICENSES} | {"apache 2.0": "Apache-2.0"}
        return folded.get(str(stated).strip().lower())


def _toml(text: str) -> dict[str, Any]:
    # tomllib takes a second for a key of 60,000 parts: the square of its length
    if max(map(len, text.splitlines()), default=0) > MAX_TOML_LINE:
        return {}
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError, ValueError):
        return {}


def _ini(text: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        parser.read_string(text)
    except configparser.Error:
        parser.clear()
    return parser


def _option(parser: configparser.ConfigParser, section: str, option: str) -> str:
    return parser.get(section, option, fallback="") or ""


def _table(data: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    value: Any = data
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}


# ── Git ──────────────────────────────────────────────────────────────────────────────────────────


def _git_remote(text: str) -> str:
    """Return the address of `origin`, or of the first remote, from git's configuration."""
    addresses = re.findall(r'\[remote "([^"\n]+)"\][^\[]*?\n[ \t]*url[ \t]*=[ \t]*(\S+)', text)
    return dict(reversed(addresses)).get("origin") or (addresses[0][1] if addresses else "")


def _page(remote: str) -> str | None:
    """Return https://host/path, without a user, whose password may stand beside."""
    match = re.fullmatch(
        r"(?:(?:https?|ssh|git)://)?(?:[^@/\s]+@)?([\w.-]+\.[A-Za-z]+)(?::\d+)?[:/]"
        r"/?([\w.~-]+(?:/[\w.~-]+)+)",
        remote.rstrip("/").removesuffix(".git"),
        re.ASCII,
    )
    return f"https://{match[1]}/{match[2]}" if match else None


def _last_part(remote: str) -> str | None:
    last = re.split(r"[/:]", remote.rstrip("/").removesuffix(".git"))[-1]
    return last if re.fullmatch(r"[\w.-]{1,60}", last, re.ASCII) else None
