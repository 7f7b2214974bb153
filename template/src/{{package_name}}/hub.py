"""Whether the model hub can be reached, asked once and before its client retries for a minute."""

from __future__ import annotations

import functools
import os
import socket
from urllib.parse import urlparse
from urllib.request import getproxies

from .credentials import refuse_placeholder

DEFAULT_ENDPOINT = "https://huggingface.co"


@functools.cache
def is_reachable() -> bool:
    """Whether the hub's name resolves. Behind a proxy this cannot be told, so the answer is yes."""
    if os.environ.get("HF_HUB_OFFLINE", "").lower() in {"1", "true", "yes", "on"}:
        return False
    if getproxies():
        return True
    host = urlparse(os.environ.get("HF_ENDPOINT", DEFAULT_ENDPOINT)).hostname
    try:
        socket.getaddrinfo(host, 443)
    except OSError:
        return False
    return True


def refuse_placeholder_token() -> None:
    """Raise ConfigError when the token is still the line of .env.example, or another's."""
    for variable in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):  # the older name is read too
        refuse_placeholder(
            variable,
            "put a token there that can read (huggingface.co > Settings > Access Tokens), or "
            "unset it: public models need none",
        )
