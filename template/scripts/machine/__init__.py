"""What the set-up commands know of this machine; standard library only."""

import sys

if sys.version_info < (3, 11):  # noqa: UP036 (a system's python3 may well be older)
    sys.exit(
        f"error: this needs Python 3.11 or newer and is Python {sys.version.split()[0]}; name "
        "another: make SYSTEM_PYTHON=python3.12 setup"
    )
