"""After `copier copy`: install, check the machine, train one step. Runs inside the project.

COPIER_OPERATION=copy python …/hooks/post_generate.py
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pipeline


def main() -> int:
    """Run the steps; return 1 only if one failed under ML_TEMPLATE_STRICT."""
    # An update runs the tasks three times, twice in Copier's temporary copies.
    if os.environ.get("COPIER_OPERATION", "copy") != "copy":
        return 0
    project = Path.cwd()
    try:
        count = pipeline.level()
    except pipeline.HookError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1 if pipeline.strict() else 0
    if count == 0:
        return 0
    try:
        entries = pipeline.run_steps(project, count)
    except KeyboardInterrupt:
        print(f"\nInterrupted; go on with `{pipeline.GO_ON}`.", file=sys.stderr)
        return 1 if pipeline.strict() else 0
    except Exception as error:  # a hook that fails would delete the project
        print(
            f"error: the set-up stopped ({error}); go on with `{pipeline.GO_ON}`.", file=sys.stderr
        )
        return 1 if pipeline.strict() else 0
    pipeline.print_summary(project, entries)
    if pipeline.strict() and any(entry["status"] == "failed" for entry in entries):
        pipeline.keep_words_of(project, entries)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
