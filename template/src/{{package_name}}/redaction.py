"""Keep keys, tokens and passwords out of what is printed and written."""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Iterator
from urllib.parse import quote, unquote

NAMES = re.compile(r"(TOKEN|KEYS?|PASSWORD|PASSWD|SECRET)$", re.IGNORECASE)
IN_ADDRESS = re.compile(r"((?<=\w\w):/{1,2}|//)[^/\s]*@")  # `:/` is what pathlib leaves of `://`
USER_AND_PASSWORD = re.compile(r"://([^/\s:]*):([^/\s]*)@")
MIN_CHARACTERS = 8  # a shorter one would be found in innocent words
HIDDEN = "***"


def redacted(text: str) -> str:
    """The text without `user:password@` of addresses, and without secrets of the environment.

    Those are the values of variables that are named as HF_TOKEN, API_KEYS or DB_PASSWORD are, and
    the passwords in addresses that variables hold.
    """
    text = IN_ADDRESS.sub(r"\1", text)
    secrets = {form for secret in _of_environment() for form in (secret, quote(secret, safe=""))}
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= MIN_CHARACTERS:
            text = text.replace(secret, HIDDEN)
    return text


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


def _basic(user: str, password: str) -> str:
    return base64.b64encode(f"{user}:{password}".encode()).decode()
