"""Tell keys of one's own from those that examples and tutorials have in their place."""

from __future__ import annotations

import os
import re

from .errors import ConfigError

PLACEHOLDER = re.compile(
    r"your[-_ ]?(\w+[-_ ])?(key|token|secret|password)"
    r"|change[-_ ]?(me|this|it)|replace[-_ ]?(me|this|with)|insert[-_ ]|placeholder|x{6}"
    r"|^<.*>$|^\$?\{.*\}$",
    re.IGNORECASE,
)


def refuse_placeholder(variable: str, remedy: str) -> None:
    """Raise ConfigError when a variable holds no real key, such as the line of .env.example.

    `remedy` says where the real one is to be had.
    """
    if PLACEHOLDER.search(os.environ.get(variable, "").strip()):
        raise ConfigError(f"{variable} holds a placeholder, no key; {remedy}")
