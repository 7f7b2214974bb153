#!/bin/sh
# Make .venv with this repository's tools, with pip as the user configured it.
# PYTHON names the interpreter; else the first suitable one is taken.

suitable='import sys; sys.exit(sys.version_info < (3, 11))'
for python in "${PYTHON:-python3}" python3 python3.14 python3.13 python3.12 python3.11 python; do
    "$python" -c "$suitable" 2>/dev/null && break
    python=
done
if [ -z "$python" ]; then
    echo "error: Python 3.11 or newer is needed and $(python3 --version 2>&1 | head -n 1) was found;" \
        "install one, or name it: make PYTHON=/path/to/python3 ..." >&2
    exit 1
fi

echo "installing the tools into .venv with $("$python" --version)" >&2
if ! "$python" -m venv --clear .venv; then
    echo "error: this Python cannot make virtual environments;" \
        "install its venv package (Debian and Ubuntu: sudo apt install python3-venv)" >&2
    exit 1
fi
if ! .venv/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt; then
    echo "error: the tools could not be installed, see pip's message above;" \
        "check the network or the index of your pip configuration (pip config list)" >&2
    exit 1
fi
