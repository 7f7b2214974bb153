"""API keys: who may use the service, and with ADMIN_KEYS who may change what it serves.

Both come from the environment, several separated by commas. Without API_KEYS everybody may predict;
without ADMIN_KEYS nobody can load another model, as those routes do not exist.
"""

from __future__ import annotations

import hashlib
import hmac
import re

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from .errors import ServiceError
from .project import ConfigError

ADMIN = "/admin/"
METRICS = "/metrics"
# Orchestrators hold no key, and the page is where people type theirs. None tells of the model
# more than its name and version.
OPEN = frozenset({"/healthz", "/readyz", "/ping", "/"})
OPEN_BELOW = "/page/"

MIN_CHARACTERS = 16
# what examples and tutorials have where a key belongs
PLACEHOLDER = re.compile(
    r"your[-_ ]?(\w+[-_ ])?(key|token|secret)|change[-_ ]?(me|this|it)|replace[-_ ]?(me|this|with)"
    r"|placeholder|example|dummy|insert[-_ ]|x{6}|1234567"
    r"|^<.*>$|^\$?\{.*\}$|^(?P<one>.)(?P=one)*$",
    re.IGNORECASE,
)


def parse_api_keys(text: str, variable: str = "API_KEYS") -> tuple[str, ...]:
    """Split a comma-separated list. Raises ConfigError, which never repeats a key."""
    keys = tuple(key.strip() for key in text.split(",") if key.strip())
    make = "for example from `python -c 'import secrets; print(secrets.token_urlsafe(32))'`"
    if text.strip() and not keys:
        raise ConfigError(f"{variable} holds no key; separate keys with commas or unset it")
    if any(PLACEHOLDER.search(key) for key in keys):
        raise ConfigError(
            f"{variable} still holds a placeholder; replace it with a key of your own, {make}"
        )
    if any(len(key) < MIN_CHARACTERS for key in keys):
        raise ConfigError(
            f"{variable} holds a key of less than {MIN_CHARACTERS} characters, which can be "
            f"guessed; take a longer one, {make}"
        )
    return keys


def parse_admin_keys(text: str, api_keys: tuple[str, ...]) -> tuple[str, ...]:
    """Like `parse_api_keys`; also refuses a key that is in both lists."""
    keys = parse_api_keys(text, "ADMIN_KEYS")
    if set(keys) & set(api_keys):
        raise ConfigError("ADMIN_KEYS holds one of API_KEYS; whoever predicts could then reload")
    return keys


class ApiKeyMiddleware:
    """Lets a request pass with `Authorization: Bearer <key>` or `X-API-Key: <key>`.

    It runs before the body is read. Paths below /admin/ take `admin_keys` only.
    """

    def __init__(
        self,
        app: ASGIApp,
        keys: tuple[str, ...],
        admin_keys: tuple[str, ...] = (),
        open_metrics: bool = False,
    ) -> None:
        self._app = app
        self._keys = [_digest(key.encode()) for key in keys]
        self._admin_keys = [_digest(key.encode()) for key in admin_keys]
        self._open = OPEN | {METRICS} if open_metrics else OPEN

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 401 in place of the application, unless the key is known."""
        if scope["type"] != "http" or not (self._keys or self._admin_keys):
            await self._app(scope, receive, send)
            return
        path = scope["path"]
        is_open = path in self._open or path.startswith(OPEN_BELOW)
        keys = self._admin_keys if path.startswith(ADMIN) and self._admin_keys else self._keys
        key = _presented(Headers(scope=scope))
        if is_open or not keys or _knows(keys, key):
            await self._app(scope, receive, send)
            return
        kind = "admin" if keys is self._admin_keys else "API"
        message = f"An {kind} key is needed: send the header Authorization: Bearer <key>."
        if key:
            message = f"The {kind} key that was sent is not known."
        error = ServiceError(401, "unauthorized", message, {"WWW-Authenticate": "Bearer"})
        await error.response()(scope, receive, send)


def _presented(headers: Headers) -> bytes:
    scheme, _, key = headers.get("authorization", "").partition(" ")
    shown = key.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", "")
    return shown.encode("latin-1")  # the bytes on the wire


def _knows(digests: list[bytes], key: bytes) -> bool:
    presented = _digest(key)
    known = False
    for digest in digests:  # all of them: the time must not tell which one was close
        known |= hmac.compare_digest(presented, digest)
    return known


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()
