"""Keep keys, tokens and passwords out of what is printed and written."""

from __future__ import annotations

import os
import re
from urllib.parse import quote

NAMES = re.compile(r"(TOKEN|KEYS?|PASSWORD|PASSWD|SECRET)$", re.IGNORECASE)
IN_ADDRESS = re.compile(r"((?<=\w\w):/{1,2}|//)[^/\s]*@")  # `:/` is what pathlib leaves of `://`
MIN_CHARACTERS = 8  # a shorter one would be found in innocent words
HIDDEN = "***"


def redacted(text: str) -> str:
    """The text without `user:password@` of addresses, and without secrets of the environment.

    Those are the values of variables that are named as HF_TOKEN, API_KEYS or DB_PASSWORD are.
    """
    text = IN_ADDRESS.sub(r"\1", text)
    for secret in _of_environment():
        text = text.replace(secret, HIDDEN)
    return text


def _of_environment() -> list[str]:
    """The secrets, also as they are written in an address; the longest first."""
    values = [value for name, value in os.environ.items() if NAMES.search(name)]
    # several keys are separated by commas
    each = {part.strip() for value in values for part in (value, *value.split(","))}
    each |= {quote(secret, safe="") for secret in each}
    return sorted((part for part in each if len(part) >= MIN_CHARACTERS), key=len, reverse=True)
