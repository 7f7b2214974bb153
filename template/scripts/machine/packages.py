"""Install what requirements.txt pins, with the PyTorch build that fits, and compile it."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from . import environments, pip_config
from .commands import run
from .environments import Installed, Project
from .install_errors import SetupError, explain

# Settings of the shell that would send packages elsewhere or start another Python.
DISTURBING = ("UV_SYSTEM_PYTHON", "PYTHONHOME", "PYTHONPATH", "PIP_TARGET", "PIP_USER")

INDEX_FAILED = r"Could not fetch URL (?!.* 404 )|Retrying|not a trusted"
YANKED = re.compile(r"`([\w.=+-]+)` is yanked|yanked version: '([\w.-]+)'")

# Byte-compile what start-up may import; Python compiles the rest at its first use. Measured for
# the llm project on 2 cores: all 11 800 files take 36 s of CPU time (21 s in parallel), these
# 5 200 about half of it. With nothing compiled the first import takes 15 s instead of 6 s, and
# every import does so where PYTHONDONTWRITEBYTECODE is set.
NOT_COMPILED = (
    r"site-packages[/\\](.*[/\\])?(tests?|testing|networkx|pygments|setuptools|torchgen|"
    r"transformers[/\\]models|torch[/\\]_inductor|sympy[/\\](physics|parsing|stats))[/\\]"
)


@dataclass(frozen=True)
class Installer:
    """One installation: the project, the tool, the user's settings and where news go."""

    project: Project
    tool: str
    torch: str  # the pinned version; empty without PyTorch
    env: Mapping[str, str]
    uv_files: frozenset[str]
    say: Callable[[str], None]

    @classmethod
    def of(cls, project: Project, tool: str, torch: str, say: Callable[[str], None]) -> Installer:
        """Collect the user's settings: the environment, pip's files and uv's."""
        env = {key: value for key, value in os.environ.items() if key not in DISTURBING}
        files = pip_config.uv_file_settings(project.root, env)
        pip = pip_config.parse(pip_config.read(project.root))
        own = project.root / "pip.conf"
        if own.is_file() and "index-url" not in pip:  # the user's has passwords, this one none
            env.setdefault("PIP_CONFIG_FILE", str(own))
        env |= pip_config.for_uv(pip, env, files)
        return cls(project, tool, torch, env, frozenset(files), say)

    def create(self) -> Installed:
        """Make `.venv` with the chosen tool."""
        self.say(f"making .venv with {self.tool}")
        if self.tool == "uv":
            uv = environments.find_uv(self.project, self.say)
            environments.create_with_uv(self.project, uv, self.env)
        elif self.tool == "conda":
            environments.create_with_conda(self.project)
        else:
            environments.create_with_venv(self.project)
        installed = environments.inspect(self.project)
        if installed is None:
            raise SetupError(
                f"the Python in .venv does not start or is not {self.project.python}",
                "set UV_PYTHON to a version in that range, then run `make setup` again",
            )
        return installed

    def install(self, installed: Installed, backend: str | None, changed: bool) -> None:
        """Install the pins; `changed` if another PyTorch build is there."""
        by_uv = self.tool == "uv" or (backend is not None and not self._own_sources())
        if by_uv:
            # For pip too: it cannot choose a build, so uv installs PyTorch and pip the rest.
            uv = environments.find_uv(self.project, self.say)
            if backend and self._index_decides(installed, uv):
                self.say("your own package sources decide which build of PyTorch that is")
                backend = None
            self._install_with_uv(installed, uv, backend, changed)
        if self.tool != "uv":
            self._install_with_pip(installed)
        add_source_path(self.project, installed)

    def _install_with_uv(
        self, installed: Installed, uv: Path, backend: str | None, changed: bool
    ) -> None:
        self.say(f"installing with uv{f', PyTorch from the {backend} index' if backend else ''}")
        what: tuple[str, ...] = ("-r", "requirements.txt")
        if self.tool != "uv":
            what = (f"torch=={self.torch}", "-c", "requirements.txt")
        if changed:
            what += ("--reinstall-package", "torch")
        if backend and "UV_TORCH_BACKEND" not in self.env:
            what += ("--torch-backend", backend)
        target = ("--python", installed.program)
        try:
            output = self.project.run(uv, "pip", "install", *target, *what, env=self.env)
            self._mention_yanked(output)
        except SetupError as error:
            if backend is None or "cannot be reached" not in str(error):
                raise
            raise SetupError(
                f"{error} (PyTorch's build for {backend} is on PyTorch's own index)",
                f"{error.remedy}; where that index is closed to you, add a mirror that has "
                "PyTorch to your pip configuration (find-links or index-url)",
            ) from error

    def _install_with_pip(self, installed: Installed) -> None:
        self.say("installing the pinned packages with pip")
        command = (installed.program, "-m", "pip", "install", "--no-input")
        pins = ("-r", "requirements.txt")
        try:
            self._mention_yanked(self.project.run(*command, "--no-compile", *pins, env=self.env))
        except SetupError as error:
            if "does not have the pinned" not in str(error):
                raise
            # That an index refused or failed pip says only where it is asked to say more.
            more = (*command, "--dry-run", "-vv", *pins)
            root, log = self.project.root, self.project.log
            said = run(more, log=log, cwd=root, env=self.env, quiet=True).output.splitlines()
            if causes := [line for line in said if re.search(INDEX_FAILED, line)]:
                raise explain("\n".join(causes), str(log.relative_to(root))) from error
            raise

    def _mention_yanked(self, output: str) -> None:
        for by_uv, by_pip in YANKED.findall(output):
            self.say(
                f"note: {by_uv or by_pip} was withdrawn by its authors (yanked); it is installed "
                "because it is pinned: `make lock ARGS=--upgrade` pins a newer one"
            )

    def _own_sources(self) -> bool:
        """Whether the user has package sources of their own."""
        names = (*pip_config.SOURCES, "UV_INDEX_URL", "UV_EXTRA_INDEX_URL")
        settings = {"index", "index-url", "extra-index-url", "find-links", "no-index"}
        return any(name in self.env for name in names) or bool(self.uv_files & settings)

    def _index_decides(self, installed: Installed, uv: Path) -> bool:
        """Whether the user's sources say which PyTorch to take, so that we must not.

        `--torch-backend` asks PyTorch's own index, which organisations with a mirror often close.
        """
        replaced = ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_NO_INDEX")
        settings = {"index-url", "default-index", "no-index", "torch-backend"}
        if any(name in self.env for name in replaced) or self.uv_files & settings:
            return True
        if not self._own_sources():
            return False
        # Sources beside the default index decide if they hold a build, such as `2.13.0+cpu`.
        probe = ("pip", "install", "--dry-run", "--reinstall-package", "torch", "--no-deps")
        command = (uv, *probe, "--python", installed.program, f"torch=={self.torch}")
        result = run(command, log=self.project.log, cwd=self.project.root, env=self.env, quiet=True)
        return result.code != 0 or bool(re.search(r"\+ torch==[\d.]+\+", result.output))


def add_source_path(project: Project, installed: Installed) -> None:
    """Make `src/` importable through a `.pth` file.

    An editable install would do the same but needs a build backend, which means a download and
    seconds. The path is relative, so the project can be moved and may have any name.
    """
    source = os.path.relpath(project.root / "src", installed.site_packages)
    (installed.site_packages / "_project_src.pth").write_text(f"{source}\n", encoding="utf-8")


def byte_compile(project: Project, installed: Installed) -> None:
    """Compile what start-up imports; a file for another Python version may fail, which is fine."""
    command = ("-m", "compileall", "-qq", "-j", "0", "-x", NOT_COMPILED, installed.site_packages)
    run((installed.program, "-I", *command), log=project.log, cwd=project.root, quiet=True)
