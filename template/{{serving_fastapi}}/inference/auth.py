"""API keys: who may use the service when the environment variable API_KEYS names any."""

from __future__ import annotations

import hashlib
import hmac

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from .errors import ServiceError
from .project import ConfigError

PROBES = frozenset({"/healthz", "/readyz"})  # orchestrators hold no key


def parse_api_keys(text: str) -> tuple[str, ...]:
    """Split a comma-separated list. Raises ConfigError, which never repeats a key."""
    keys = tuple(key.strip() for key in text.split(",") if key.strip())
    if text.strip() and not keys:
        raise ConfigError("API_KEYS holds no key; separate keys with commas or unset it")
    if any(key.lower().endswith("your_key_here") for key in keys):
        raise ConfigError(
            "API_KEYS still holds a placeholder; replace it with a key of your own, for example "
            "from `python -c 'import secrets; print(secrets.token_urlsafe(32))'`"
        )
    return keys


class ApiKeyMiddleware:
    """Lets a request pass with `Authorization: Bearer <key>`; runs before the body is read."""

    def __init__(self, app: ASGIApp, keys: tuple[str, ...]) -> None:
        self._app = app
        self._digests = [_digest(key.encode()) for key in keys]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 401 in place of the application, unless the key is known."""
        is_open = scope["type"] != "http" or scope["path"] in PROBES or not self._digests
        if is_open or self._knows(Headers(scope=scope).get("authorization", "")):
            await self._app(scope, receive, send)
            return
        message = "An API key is needed: send the header Authorization: Bearer <key>."
        error = ServiceError(401, "unauthorized", message, {"WWW-Authenticate": "Bearer"})
        await error.response()(scope, receive, send)

    def _knows(self, header: str) -> bool:
        scheme, _, key = header.partition(" ")
        presented = _digest(key.strip().encode("latin-1"))
        known = False
        for digest in self._digests:  # all of them: the time must not tell which one was close
            known |= hmac.compare_digest(presented, digest)
        return known and scheme.lower() == "bearer"


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()
