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
# Installers do not say whether a page was an index: to them a page to sign in has no packages.
MISSING = (
    "open its address (`pip config list`) in a browser: sign in where it shows a page to sign in, "
    "correct the address where it lists no packages; else ask for it there, or add an index that "
    f"has it to your pip configuration, {AGAIN}"
)

# The first match counts, so causes stand before their consequences ("failed to fetch").
# A named group `what` is the package, address or file the sentence names.
KNOWN: tuple[tuple[str, str, str], ...] = (
    (
        r"No space left on device|not enough space|ENOSPC",
        "the disk is full",
        f"free some disk space (`uv cache prune` helps), {AGAIN}",
    ),
    (
        r"(?i:hash mismatch for `?|do not match the hashes[^:]*?tampered with them\. )"
        r"(?P<what>[\w.=+-]+)",
        "the downloaded {what} is not the file that was pinned (its hash differs)",
        "do not install it: ask whoever runs the package index, or clear the caches "
        f"(`uv cache clean`, `pip cache purge`), {AGAIN}",
    ),
    (
        r"(?i:invalid peer certificate|certificate_verify_failed|unknownissuer)",
        "the package index's certificate is not trusted",
        "point SSL_CERT_FILE at your organisation's certificates, or set UV_SYSTEM_CERTS=1, "
        f"{AGAIN}",
    ),
    (
        r"(?i:is not a trusted or secure host)",
        "pip ignores a package index that speaks http without encryption",
        f"write https:// in its address, or its host into trusted-host of pip's settings, {AGAIN}",
    ),
    (
        r"(?i:\b407 (?:proxy|client error)|(?:status code:?|response|failed:) 407\b|"
        r"proxy auth\w* required)",
        "the proxy wants a user name and a password",
        f"write them into the proxy's address (http://<user>:<password>@<host>:<port>), {AGAIN}",
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
        r"(?:status server error \(|(?i:error): |too many )"
        r"(?P<what>5\d\d) (?:[A-Z]|error responses)",
        "the package index fails by itself (its answer is the error {what})",
        "wait, then run `make setup` again; if it goes on failing, tell whoever runs the index",
    ),
    (
        r"(?i:end of file before message|before message completed|invalid http version|"
        r"error decoding response|incompleteread|remotedisconnected|connection aborted|"
        r"connection reset)",
        "the connection to the package index broke off",
        "run `make setup` again (finished downloads are kept); if it repeats, look for a proxy or "
        "a virus scanner between that cuts downloads off",
    ),
    (
        r"Configuration file could not be loaded",  # what stands in it may be a password
        "pip's configuration file cannot be read",
        f"mend it (`pip config debug` shows which files there are), {AGAIN}",
    ),
    (
        r"Failed to parse: `?(?P<what>[\w./-]*\.toml)",
        "{what} cannot be read",
        f"mend the line that .ml-template/setup.log names, {AGAIN}",
    ),
    (
        r"(?:Couldn't parse requirement|Invalid requirement|start of a requirement)",
        "requirements.txt has a line that names no package",
        f"restore the file (`git checkout requirements.txt`), {AGAIN}",
    ),
    (
        r"invalid value '(?P<what>[^']*)' for '--torch-backend",
        "UV_TORCH_BACKEND is {what}, which uv does not know",
        f"unset it, or write one such as cpu or cu130, {AGAIN}",
    ),
    (
        r"Failed to initialize cache",
        "the folder of uv's package cache cannot be made",
        f"name one that can be written (UV_CACHE_DIR=/some/folder), {AGAIN}",
    ),
    (
        r"(?i:dns error|failed to lookup|name resolution|connection refused|"
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
        r"(?:does not satisfy Python[\S]* and |versions that require a different python version)"
        r"(?P<what>[\w.-]+==[\w.+-]+)?",
        "the pinned {what} is not made for this Python",
        "take another one with `UV_PYTHON=3.12 make setup`, or pin anew with `make lock`",
    ),
    (
        r"(?:there is no version of|No matching distribution found for|Could not find a version "
        r"that satisfies the requirement) (?P<what>[\w.\[\]-]+==[\w.+!-]+)",
        "your package index does not have the pinned {what} for this Python and system",
        MISSING,
    ),
    (
        r"No matching distribution found for (?P<what>[\w.\[\]-]+)",
        "your package index does not have {what} as it is needed",
        MISSING,
    ),
    (
        r"(?P<what>[\w.\[\]-]+) was not found in the package registry",
        "your package index does not have {what}",
        MISSING,
    ),
    (
        r"(?P<what>[\w.-]+==[\w.+-]+) has no wheels with a matching",
        "{what} is not built for this Python or this system",
        "use another Python with `UV_PYTHON=3.12 make setup`",
    ),
    (
        r"(?:Because |Wheel '|Failed to install: |Requested )(?P<what>[\w.=+-]+)[^,]* (?:has an "
        r"invalid package format|is invalid|has inconsistent|\(\S+ cause: Wheel version)",
        "the package index serves a damaged {what}",
        "do not install it: clear the caches (`uv cache clean`, `pip cache purge`), "
        f"tell whoever runs the package index, {AGAIN}",
    ),
    (
        r"Failed to build `?(?P<what>[\w.=+-]+)|subprocess-exited-with-error",
        "the {what} has no wheel for this machine, and building it failed",
        "take a Python that it has one for (`UV_PYTHON=3.12 make setup`), or install the compiler "
        "that .ml-template/setup.log asks for",
    ),
    (
        r"No solution found when resolving|ResolutionImpossible|conflicting dependencies",
        "the pinned packages do not go together",
        f"undo the change in requirements.txt, or pin anew with `make lock`, {AGAIN}",
    ),
    (
        r"No interpreter found|No Python at|no suitable Python",
        "no Python that pyproject.toml allows (requires-python) was found",
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


def of_system(error: OSError) -> SetupError:
    """Say which file or folder the system refused, and what to do."""
    known = explain(str(error), "")
    if any(message == str(known) for _, message, _ in KNOWN):
        return known
    where = f"{error.filename}: " if error.filename else ""
    in_the_way = isinstance(error, FileExistsError | NotADirectoryError | IsADirectoryError)
    remedy = "move it away" if in_the_way else "give this user the right to it, or free it"
    return SetupError(f"{where}{error.strerror or error}", f"{remedy}, {AGAIN}")


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
