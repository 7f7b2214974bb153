"""Keep keys, tokens and passwords out of what is printed and written."""

from __future__ import annotations

import base64
import json
import netrc
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from urllib.parse import quote, unquote

NAMES = re.compile(r"(TOKEN|KEYS?|PASSWORD|PASSWD|SECRET)$", re.IGNORECASE)
# A password may hold what no address should, such as `/`; but digits before it are a port.
PASSWORD = r"(?:[^/\s?#]*|(?!\d+[/?#])[^\s'\"]*)"
# `:/` is what pathlib leaves of `://`
IN_ADDRESS = re.compile(rf"((?<=\w\w):/{{1,2}}|//)(?:[^/\s?#]*|[^/\s:'\"]+:{PASSWORD})@")
USER_AND_PASSWORD = re.compile(rf"://([^/\s:]*):({PASSWORD})@")
# what the hub, GitHub, GitLab, W&B, sellers of language models and Amazon give out, and key files
KNOWN_SHAPES = re.compile(
    r"(?<![A-Za-z0-9])("
    r"hf_([A-Za-z0-9]{30,}|oauth_[\w.-]{30,})|gh[oprsu]_\w{30,}|github_pat_\w{30,}"
    r"|glpat-[\w-]{20,}|wandb_v\d_\w{30,}|sk-(\w+-){0,4}(?=[a-z]*[A-Z\d])[A-Za-z0-9]{20,}[\w-]*|(AKIA|ASIA)[A-Z0-9]{16}"
    r")|-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*PRIVATE KEY-----|\Z)",
    re.DOTALL,
)
MIN_CHARACTERS = 8  # a shorter one would be found in innocent words
HIDDEN = "***"


def redacted(text: str) -> str:
    """The text without `user:password@` of addresses, and without secrets that can be known here.

    Those are the values of variables that are named as HF_TOKEN, API_KEYS or DB_PASSWORD are, the
    passwords in addresses that variables hold, what `hf auth login` and .netrc keep, and whatever
    has the shape of a well-known kind of key.
    """
    text = IN_ADDRESS.sub(r"\1", text)
    secrets = {form for secret in (*_of_environment(), *_of_logins()) for form in _forms(secret)}
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    return KNOWN_SHAPES.sub(HIDDEN, text)


def brief(text: object, most: int = 200) -> str:
    """At most so many characters, in one line; cut last, as half a secret would not be found."""
    return " ".join(redacted(str(text)).split())[:most]


def _forms(secret: str) -> Iterator[str]:
    """A secret and each of its lines, as they are in texts, addresses, reprs and JSON."""
    for part in (secret, *map(str.strip, secret.splitlines())):
        if len(part) >= MIN_CHARACTERS:
            yield from (part, quote(part, safe=""), quote(part), json.dumps(part)[1:-1])
            # a repr writes a quote as it is, or with a backslash where it has both kinds
            yield from (repr(part)[1:-1], repr("'\"" + part)[4:-1])


def _of_environment() -> Iterator[str]:
    """The secrets, and how HTTP sends a password with its user."""
    for name, value in os.environ.items():
        if NAMES.search(name):
            yield value.strip()
            yield from (part.strip() for part in value.split(","))  # several keys
            yield _basic(os.environ.get(name.upper().replace("PASSWORD", "USERNAME"), ""), value)
        if name.upper().endswith("HEADERS"):  # OTEL_EXPORTER_OTLP_HEADERS=name=value,name=value
            yield from (part.partition("=")[2].strip() for part in value.split(","))
        for user, password in USER_AND_PASSWORD.findall(value):
            yield unquote(password)
            yield _basic(unquote(user), unquote(password))


def _of_logins() -> tuple[str, ...]:
    """What `hf auth login` keeps in a file of its own, and `wandb login` and git in .netrc."""
    known, path = os.environ.get, os.path.expanduser
    hub = known("HF_HOME") or f"{known('XDG_CACHE_HOME') or '~/.cache'}/huggingface"
    token_file, netrc_file = known("HF_TOKEN_PATH") or f"{hub}/token", known("NETRC") or "~/.netrc"
    return _in_files(path(token_file), path(netrc_file))


@cache
def _in_files(token_file: str, netrc_file: str) -> tuple[str, ...]:
    """Read once: every line that is logged asks."""
    found: list[str] = []
    with suppress(OSError, ValueError):  # ValueError: no text
        found.append(Path(token_file).read_text("utf-8").strip())
    with suppress(OSError, ValueError, netrc.NetrcParseError):
        for user, _, password in netrc.netrc(netrc_file).hosts.values():
            found += [password or "", _basic(user, password or "")]
    return tuple(found)


def _basic(user: str, password: str) -> str:
    return base64.b64encode(f"{user}:{password}".encode()).decode()
