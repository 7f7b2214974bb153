"""What the set-up commands know of this machine; standard library only.

`make update` maintains the files of scripts/ that came with it.
"""

import sys
from pathlib import Path

if sys.version_info < (3, 11):  # noqa: UP036 (a system's python3 may well be older)
    script = Path(sys.argv[0]).stem
    goals = {"setup_env": "setup", "supply_chain": "".join(sys.argv[1:2])}
    sys.exit(
        f"error: this needs Python 3.11 or newer and is Python {sys.version.split()[0]}; name "
        f"another: make SYSTEM_PYTHON=python3.12 {goals.get(script, script)}"
    )
