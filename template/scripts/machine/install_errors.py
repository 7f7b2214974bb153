"""What an installer's failure means, in one sentence, and what to do about it."""

from __future__ import annotations

import re


class SetupError(Exception):
    """A step that failed: what failed (the message), and the remedy."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message)
        self.remedy = remedy


MIRROR = (
    "check the network and the index or proxy in your pip or uv configuration "
    "(`pip config list`), then run `make setup` again"
)
AGAIN = "then run `make setup` again"

# The first match counts, so causes stand before their consequences ("failed to fetch").
# A named group `what` is the package, address or file the sentence names.
KNOWN: tuple[tuple[str, str, str], ...] = (
    (
        r"No space left on device|not enough space|ENOSPC",
        "the disk is full",
        f"free some disk space (`uv cache prune` helps), {AGAIN}",
    ),
    (
        r"(?i:hash mismatch for `?(?P<what>[\w.=+-]+)|do not match the hashes)",
        "the downloaded {what} is not the file that was pinned (its hash differs)",
        "do not install it: ask whoever runs the package index, or clear the cache "
        f"(`uv cache clean`), {AGAIN}",
    ),
    (
        r"(?i:invalid peer certificate|certificate_verify_failed|unknownissuer)",
        "the package index's certificate is not trusted",
        "point SSL_CERT_FILE at your organisation's certificates, or set UV_SYSTEM_CERTS=1, "
        f"{AGAIN}",
    ),
    (
        r"(?i:\b40[13] (?:unauthorized|forbidden)|status code 40[13]|\b40[13] client error)",
        "the package index refused access",
        f"check the user name and password (or token) in its configuration, {AGAIN}",
    ),
    (
        r"(?i:operation timed out|timed out|timeout was reached|read timed out)",
        "the package index answers too slowly",
        "run `make setup` again (finished downloads are kept), with UV_HTTP_TIMEOUT=600 "
        "(PIP_DEFAULT_TIMEOUT=600 for pip) if it repeats",
    ),
    (
        r"(?i:dns error|failed to lookup|name resolution|connection refused|connection reset|"
        r"network is unreachable|no route to host|newconnectionerror|tunnel|"
        r"error sending request|connecterror|failed to fetch)",
        "the package index cannot be reached",
        MIRROR,
    ),
    (
        r"(?i:network was disabled|network connectivity is disabled)",
        "packages are missing from the cache and UV_OFFLINE forbids fetching them",
        f"unset UV_OFFLINE, {AGAIN}",
    ),
    (
        r"(?:there is no version of|No matching distribution found for|Could not find a version "
        r"that satisfies the requirement) (?P<what>[\w.\[\]-]+==[\w.+!-]+)",
        "your package index does not have the pinned {what}",
        f"ask for it there, or add an index that has it to your pip configuration, {AGAIN}",
    ),
    (
        r"(?P<what>[\w.\[\]-]+) was not found in the package registry",
        "your package index does not have {what}",
        f"ask for it there, or add an index that has it to your pip configuration, {AGAIN}",
    ),
    (
        r"(?P<what>[\w.-]+==[\w.+-]+) has no wheels with a matching",
        "{what} is not built for this Python or this system",
        "use another Python with `UV_PYTHON=3.12 make setup`",
    ),
    (
        r"No solution found when resolving|ResolutionImpossible|conflicting dependencies",
        "the pinned packages do not go together",
        f"undo the change in requirements.txt, or pin anew with `make lock`, {AGAIN}",
    ),
    (
        r"No interpreter found|No Python at|no suitable Python",
        "no Python from 3.11 to 3.13 was found",
        f"install one (`uv python install 3.12`), {AGAIN}",
    ),
    (
        r"ensurepip is not available|No module named (?:ensurepip|venv)",
        "this Python cannot make virtual environments",
        f"install its venv package (Debian and Ubuntu: `sudo apt install python3-venv`), {AGAIN}",
    ),
    (
        r"Permission denied|EACCES|Read-only file system",
        "a folder cannot be written",
        f"check the rights of the project folder and of the package cache, {AGAIN}",
    ),
)


def explain(output: str, log: str) -> SetupError:
    """Turn an installer's output into one sentence and a remedy."""
    text = " ".join(output.split())  # uv wraps its sentences
    for pattern, message, remedy in KNOWN:
        if found := re.search(pattern, text):
            what = found.groupdict().get("what") or "package"
            return SetupError(message.format(what=what), remedy)
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if re.match(r"(?i:error|fatal)\b", line)]
    last = (errors or lines or ["no message"])[-1]
    return SetupError(f"the installer failed ({last[:160]})", f"read {log}, mend it, {AGAIN}")
