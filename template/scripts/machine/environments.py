"""Make `.venv` with uv, venv or conda, and find the programs for it."""

from __future__ import annotations

import operator
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from .commands import run
from .install_errors import AGAIN, SetupError, explain

OLDEST_UV = (0, 9)  # the first that knows PyTorch's CUDA 13 builds
CONDAS = ("conda", "mamba", "micromamba")


@dataclass(frozen=True)
class Project:
    """Where things are; `python` is the range of versions, such as `>=3.11,<3.14`."""

    root: Path
    python: str

    @property
    def venv(self) -> Path:
        """The environment's folder."""
        return self.root / ".venv"

    @property
    def log(self) -> Path:
        """What the installers printed."""
        return self.root / ".ml-template" / "setup.log"

    def run(self, *command: str | Path, env: Mapping[str, str] | None = None) -> str:
        """Run an installer; raise SetupError with the reason where it fails."""
        result = run(command, log=self.log, cwd=self.root, env=env)
        if result.code:
            raise explain(result.output, str(self.log.relative_to(self.root)))
        return result.output


@dataclass(frozen=True)
class Installed:
    """The Python inside an environment."""

    program: Path
    version: str
    site_packages: Path


_ASK = (
    "import platform, sysconfig\n"
    "print(platform.python_version())\n"
    "print(sysconfig.get_path('purelib'))"
)


def inspect(project: Project) -> Installed | None:
    """Return the environment's Python if it starts and its version is in the project's range."""
    folder = project.venv
    for program in (folder / "bin/python", folder / "Scripts/python.exe", folder / "python.exe"):
        answer = _output([program, "-I", "-X", "utf8", "-c", _ASK]).splitlines()
        if len(answer) == 2 and accepts(project.python, answer[0]):
            return Installed(program, answer[0], Path(answer[1]))
    return None


def running(project: Project, name: str) -> Installed | None:
    """The Python that runs this, where the project `name` is installed in it: one's own env."""
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
    version = platform.python_version()
    if not accepts(project.python, version):
        return None
    return Installed(Path(sys.executable), version, Path(sysconfig.get_path("purelib")))


OPERATORS: dict[str, Callable[[tuple[int, ...], tuple[int, ...]], bool]] = {
    ">=": operator.ge,
    "~=": operator.ge,
    "<=": operator.le,
    "<": operator.lt,
    ">": operator.gt,
    "==": operator.eq,
    "!=": operator.ne,
}


def accepts(requires: str, version: str) -> bool:
    """Whether a version such as `3.12.4` is in a range such as `>=3.11,<3.14`."""
    have = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
    bounds = re.findall(r"(>=|<=|~=|==|!=|<|>)\s*(\d+)\.(\d+)", requires)
    return all(OPERATORS[sign](have, (int(major), int(minor))) for sign, major, minor in bounds)


def clear(project: Project) -> None:
    """Empty `.venv`, half made or not; the folder itself may be a link to another disk."""
    for entry in project.venv.iterdir() if project.venv.is_dir() else ():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def create_with_uv(project: Project, uv: Path, env: Mapping[str, str]) -> None:
    """Make `.venv` with uv; UV_PYTHON or .python-version choose the Python, else the range does."""
    chosen = "UV_PYTHON" in env or (project.root / ".python-version").is_file()
    python = () if chosen else ("--python", project.python)
    preferred = {} if _prefers_python(env) else {"UV_PYTHON_PREFERENCE": "system"}
    command = (uv, "venv", "--quiet", "--clear", *python, project.venv)
    project.run(*command, env={**env, **preferred})


def _prefers_python(env: Mapping[str, str]) -> bool:
    names = ("UV_PYTHON_PREFERENCE", "UV_MANAGED_PYTHON", "UV_NO_MANAGED_PYTHON")
    return any(name in env for name in names)


def create_with_venv(project: Project) -> None:
    """Make `.venv` with the standard library, from the first suitable Python."""
    python = find_python(project)
    project.run(python, "-m", "venv", "--clear", project.venv)


def create_with_conda(project: Project) -> None:
    """Make `.venv` as a conda environment with Python and pip; pip installs the pinned rest."""
    found = [os.environ.get("CONDA_EXE", ""), *CONDAS]
    conda = next(filter(None, (shutil.which(name) for name in found if name)), None)
    if conda is None:
        raise SetupError(
            "conda was chosen for this project and is not installed",
            'install Miniforge (conda), or write `environment = "uv"` under [tool.ml-template] '
            f"in pyproject.toml, {AGAIN}",
        )
    python = _pinned_python(project) or project.python
    spec = f"python{python}" if python[0] in "<>=!~" else f"python={python}"
    project.run(conda, "create", "--yes", "--quiet", "--prefix", project.venv, spec, "pip")


def find_python(project: Project) -> str:
    """Return a Python in the project's range: .python-version, the one running, then PATH."""
    wanted = _pinned_python(project)
    names = [f"python{wanted}"] if wanted else [sys.executable]
    names += ["python3.13", "python3.12", "python3.11", "python3", "python"]
    for name in names:
        program = shutil.which(name)
        if program and accepts(project.python, _python_version(program)):
            return program
    raise explain("No interpreter found", "")


def _pinned_python(project: Project) -> str:
    """Return `3.12` if UV_PYTHON or .python-version names a version, else nothing."""
    file = project.root / ".python-version"
    text = os.environ.get("UV_PYTHON") or (file.read_text() if file.is_file() else "")
    found = re.match(r"\s*(?:cpython-|python)?(\d+\.\d+)", text)
    return found[1] if found else ""


def _python_version(program: str) -> str:
    return _output([program, "-I", "-c", "import platform; print(platform.python_version())"])


def find_uv(project: Project, say: Callable[[str], None]) -> Path:
    """Return a recent uv: the user's own, else one fetched through pip into `.ml-template/uv`."""
    own = project.root / ".ml-template" / "uv"
    for program in _uv_candidates(own):
        version = re.match(r"uv (\d+)\.(\d+)", _output([program, "--version"]))
        if version and (int(version[1]), int(version[2])) >= OLDEST_UV:
            return program
    say("no recent uv on this machine: fetching it through pip into .ml-template/uv")
    _fetch_uv(project, own)
    return next(_uv_candidates(own, only=own))


def _uv_candidates(own: Path, only: Path | None = None) -> Iterator[Path]:
    home = Path.home()
    found = shutil.which("uv")
    user = [Path(found)] if found else []
    user += [home / ".local/bin/uv", home / ".cargo/bin/uv"]
    mine = [own / folder / name for folder in ("bin", "Scripts") for name in ("uv", "uv.exe")]
    yield from (path for path in ([] if only else user) + mine if path.is_file())


def _fetch_uv(project: Project, own: Path) -> None:
    shutil.rmtree(own, ignore_errors=True)
    python = find_python(project)
    pip: Sequence[str | Path] = (python, "-m", "pip")
    if not _output([*pip, "--version"]):
        # A Python without pip (Copier's own, Debian's without python3-pip): venv brings one.
        project.run(python, "-m", "venv", "--clear", own / "pip")
        made = (own / "pip" / folder for folder in ("bin", "Scripts"))
        pip = (next(path for folder in made for path in folder.glob("python*")), "-m", "pip")
    # `--target` is allowed where the distribution forbids pip to touch its own Python (PEP 668).
    arguments = ("install", "--quiet", "--no-input", "--disable-pip-version-check")
    minimum = ".".join(map(str, OLDEST_UV))
    project.run(*pip, *arguments, "--target", own, f"uv>={minimum}")


def _output(command: Sequence[str | Path]) -> str:
    """Return stdout, or nothing where the program fails or cannot start."""
    try:
        done = subprocess.run(
            [str(part) for part in command],
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=60,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
