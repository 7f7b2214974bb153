"""After `copier update`, once, in the real project.

Keep the user's files that Copier cannot merge, carry renamed configuration keys over, say what is
left to merge, and install again if requirements.txt changed.

python …/hooks/post_update.py
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import keep_bytes
import merge_report
import migrate
import pipeline

STEPS = {
    "a file of yours that is no text may be the template's now": keep_bytes.report,
    "configs/ was not searched for renamed keys": migrate.migrate,
    "conflicts were not looked for": merge_report.report,
}
"""What is to be done, and what it means where it fails."""


def main() -> int:
    """Do all; return 1 only if the installation failed under ML_TEMPLATE_STRICT."""
    project = Path.cwd()
    told = []
    for failed, step in STEPS.items():
        try:
            told += step(project)
        except (OSError, ValueError) as error:  # the update itself is done and stays
            told.append(f"error: {failed} ({error}): look at git diff.")
    if told:
        print("", *told, "", sep="\n", file=sys.stderr, flush=True)
    return reinstall(project)


def reinstall(project: Path) -> int:
    """Install if requirements.txt changed; return 1 if that failed under ML_TEMPLATE_STRICT."""
    try:
        if pipeline.level() == 0 or not needs_install(project):
            return 0
        print("requirements.txt changed:", file=sys.stderr)
        entries = pipeline.run_steps(project, 1, mark_rest=False)
    except pipeline.HookError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1 if pipeline.strict() else 0
    except (Exception, KeyboardInterrupt) as error:  # the update itself is done and stays
        print(f"error: reinstalling stopped ({error}); run `make setup`.", file=sys.stderr)
        return 1 if pipeline.strict() else 0
    setup = [entry for entry in entries if entry["name"] == "setup"]
    failed = any(entry["status"] == "failed" for entry in setup)
    return 1 if failed and pipeline.strict() else 0


def needs_install(project: Path) -> bool:
    """Whether `.venv` was installed from another requirements.txt than the one here now."""
    stamp_file = project / ".venv" / ".ml-template-requirements"  # STAMP of machine/steps.py
    pins = project / "requirements.txt"
    if not stamp_file.is_file() or not pins.is_file():
        return False
    content = pins.read_bytes()
    if b"<<<<<<< " in content or merge_report.pinned_twice(project):
        remedy = "run `make lock`, then `make setup`"
        print(f"requirements.txt cannot be installed as it is: {remedy}.", file=sys.stderr)
        return False
    try:
        installed = json.loads(stamp_file.read_text(encoding="utf-8"))["requirements"]
    except (ValueError, KeyError, TypeError):
        installed = ""
    return bool(installed != hashlib.sha256(content).hexdigest())


if __name__ == "__main__":
    sys.exit(main())
