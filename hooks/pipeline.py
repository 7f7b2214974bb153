"""Run a project's own set-up scripts one after another, for the hooks. Standard library only.

It runs in Copier's Python (3.10 or newer) with the project as working directory.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

STEPS = ("setup", "doctor", "smoke")
LEVELS = {"off": 0, "install": 1, "doctor": 2, "all": 3}
SCRIPTS = {"setup": "setup_env.py", "doctor": "doctor.py", "smoke": "smoke_test.py"}
GO_ON = "make setup doctor smoke"


class HookError(Exception):
    """A mistake in the hooks' environment variables, in one sentence."""


def level() -> int:
    """Return how many steps ML_TEMPLATE_HOOKS asks for."""
    value = os.environ.get("ML_TEMPLATE_HOOKS", "").strip().lower() or "all"
    if value not in LEVELS:
        raise HookError(
            f"ML_TEMPLATE_HOOKS={value!r} is not one of {', '.join(LEVELS)}; "
            f"nothing was installed. Run `{GO_ON}` in the project."
        )
    return LEVELS[value]


def strict() -> bool:
    """Whether a failed step is a failed generation."""
    return os.environ.get("ML_TEMPLATE_STRICT", "").strip().lower() in {"1", "true", "yes", "on"}


def run_steps(project: Path, count: int, mark_rest: bool = True) -> list[dict[str, object]]:
    """Run the first `count` steps and return the report's entries, one a step.

    After a failed or interrupted set-up nothing else can run; after the doctor smoke still can.
    `mark_rest` records the steps beyond `count` as skipped.
    """
    report = _report_of(project)
    stopped = ""
    for name in STEPS[:count]:
        if stopped:
            report.record(project, name, "skipped", 0, stopped, f"run `{GO_ON}`")
            continue
        print(f"\n{name}", file=sys.stderr, flush=True)
        ok, interrupted = _run_step(project, report, name)
        if interrupted:
            stopped = f"{name} was interrupted"
        elif not ok and name == "setup":
            stopped = "setup failed"
    for name in STEPS[count:] if mark_rest else ():
        report.record(
            project, name, "skipped", 0, "left out by ML_TEMPLATE_HOOKS", f"run `make {name}`"
        )
    return list(report.read(project))


def _run_step(project: Path, report: ModuleType, name: str) -> tuple[bool, bool]:
    """Run one script; return whether it succeeded and whether it was interrupted."""
    before = _entry(report.read(project), name)
    started = time.monotonic()
    again = f"run `make {name}` in the project"
    try:
        python = project_python(project) if name == "smoke" else suitable_python()
        process = subprocess.Popen([python, f"scripts/{SCRIPTS[name]}"], cwd=project, env=_env())
    except OSError as error:
        report.record(project, name, "failed", 0, str(error), again)
        return False, False
    try:
        code = process.wait()
    except KeyboardInterrupt:
        # Copier gets the Ctrl-C too and ends us within a quarter of a second: record first.
        # The script got it as well and stops by itself.
        seconds = time.monotonic() - started
        report.record(project, name, "failed", seconds, "interrupted", again)
        print(f"\n{name} interrupted; the project stays.", file=sys.stderr, flush=True)
        process.wait()
        return False, True
    entry = _entry(report.read(project), name)
    if entry is None or entry == before:
        seconds = time.monotonic() - started
        if code == 0:
            report.record(project, name, "ok", seconds, "done")
        else:
            message = f"{SCRIPTS[name]} ended with exit code {code}; its reason is above"
            report.record(project, name, "failed", seconds, message, again)
    return code == 0, False


def print_summary(project: Path, entries: list[dict[str, object]]) -> None:
    """Print what was done, what failed with its remedy, and the next command."""
    print(file=sys.stderr)
    for entry in entries:
        seconds = f" ({entry['seconds']} s)" if entry["status"] != "skipped" else ""
        print(f"  {entry['name']:8}{entry['status']}{seconds}: {entry['message']}", file=sys.stderr)
        if entry["status"] == "failed" and entry.get("remedy"):
            print(f"          → {entry['remedy']}", file=sys.stderr)
    failed = any(entry["status"] == "failed" for entry in entries)
    what = f"{GO_ON}   # goes on from here" if failed else "make train"
    print(f"\n  cd {_quoted(_shown(project))} && {what}\n", file=sys.stderr, flush=True)
    if not shutil.which("make"):
        print(
            "  make is not installed here. Debian and Ubuntu: sudo apt install make.\n"
            "  Without it run the lines of the Makefile, such as python scripts/setup_env.py\n",
            file=sys.stderr,
            flush=True,
        )


def keep_words_of(project: Path, entries: list[dict[str, object]]) -> None:
    """Print the report and the log's end: Copier deletes a new project whose task failed."""
    print(
        "ML_TEMPLATE_STRICT: a step failed, so this generation fails, and Copier deletes a new "
        "project (keep it with --no-cleanup). Its report:\n"
        + json.dumps(entries, indent=2, ensure_ascii=False),
        file=sys.stderr,
    )
    log = project / ".ml-template" / "setup.log"
    if log.is_file():
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
        print("The end of setup.log:", *lines[-30:], sep="\n", file=sys.stderr)
    sys.stderr.flush()


def suitable_python() -> str:
    """Return this Python, or a 3.11 or newer on PATH where Copier runs in an older one."""
    if sys.version_info >= (3, 11):  # noqa: UP036 (Copier itself runs in 3.10 too)
        return sys.executable
    for name in ("python3.13", "python3.12", "python3.11"):
        if found := shutil.which(name):
            return found
    raise OSError("the project needs Python 3.11 or newer and none is on PATH")


def project_python(project: Path) -> str:
    """Return the Python in `.venv`."""
    for path in ("bin/python", "Scripts/python.exe", "python.exe"):
        if (program := project / ".venv" / path).exists():
            return str(program)
    raise OSError("there is no .venv")


def _env() -> dict[str, str]:
    """Leave out what describes Copier's own Python."""
    own = ("PYTHONHOME", "PYTHONPATH", "VIRTUAL_ENV", "__PYVENV_LAUNCHER__")
    return {key: value for key, value in os.environ.items() if key not in own}


def _report_of(project: Path) -> ModuleType:
    """Load the project's own `scripts/machine/steps.py`, which knows the report's form."""
    path = project / "scripts" / "machine" / "steps.py"
    spec = importlib.util.spec_from_file_location("ml_template_steps", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _entry(entries: list[dict[str, object]], name: str) -> dict[str, object] | None:
    return next((entry for entry in entries if entry["name"] == name), None)


def _shown(project: Path) -> str:
    """The project as seen from the user's shell, if that is shorter."""
    shell = os.environ.get("PWD", "")
    if shell and Path(shell).is_dir():
        relative = os.path.relpath(project, shell)
        if not relative.startswith("..") and relative != ".":
            return relative
    return str(project)


def _quoted(path: str) -> str:
    return shlex.quote(path) if os.name == "posix" else f'"{path}"'
