"""API keys: who may use the service, and with ADMIN_KEYS who may change what it serves.

Both come from the environment, several separated by commas. Without API_KEYS everybody may predict;
without ADMIN_KEYS nobody can load another model, as those routes do not exist.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from .errors import ServiceError
from .project import PLACEHOLDER, ConfigError

ADMIN = "/admin/"
METRICS = "/metrics"
# Orchestrators hold no key, the page is where people type theirs, and the interface says how to
# send one. None tells of the model more than its name and version.
OPEN = frozenset({"/healthz", "/readyz", "/ping", "/", "/openapi.json"})
OPEN_BELOW = "/page/"
WAYS: dict[str, dict[str, str]] = {
    "Bearer": {"type": "http", "scheme": "bearer"},
    "Header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}

MIN_CHARACTERS = 16
# besides the placeholders: whoever makes a key can make one that is nobody's first guess
GUESSABLE = re.compile(r"example|dummy|1234567|^(?P<one>.)(?P=one)*$", re.IGNORECASE)


def parse_api_keys(text: str, variable: str = "API_KEYS") -> tuple[str, ...]:
    """Split a comma-separated list. Raises ConfigError, which never repeats a key."""
    keys = tuple(key.strip() for key in text.split(",") if key.strip())
    make = "for example from `python -c 'import secrets; print(secrets.token_urlsafe(32))'`"
    if text.strip() and not keys:
        raise ConfigError(f"{variable} holds no key; separate keys with commas or unset it")
    if any(PLACEHOLDER.search(key) or GUESSABLE.search(key) for key in keys):
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


@dataclass(frozen=True)
class Access:
    """Which paths ask for a key, and for which."""

    api_keys: tuple[str, ...] = ()
    admin_keys: tuple[str, ...] = ()
    open_metrics: bool = False

    def kind(self, path: str) -> str | None:
        """`API` or `admin`; None where anybody may come."""
        if path in OPEN or path.startswith(OPEN_BELOW) or (self.open_metrics and path == METRICS):
            return None
        if path.startswith(ADMIN) and self.admin_keys:
            return "admin"
        return "API" if self.api_keys else None


class ApiKeyMiddleware:
    """Lets a request pass with `Authorization: Bearer <key>` or `X-API-Key: <key>`.

    It runs before the body is read. Paths below /admin/ take an admin key only.
    """

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app, self._access = app, access
        by_kind = {"API": access.api_keys, "admin": access.admin_keys}
        self._keys = {kind: [_digest(k.encode()) for k in keys] for kind, keys in by_kind.items()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 401 in place of the application, unless the key is known."""
        kind = self._access.kind(scope["path"]) if scope["type"] == "http" else None
        if kind is None:
            await self._app(scope, receive, send)
            return
        key = _presented(Headers(scope=scope))
        if _knows(self._keys[kind], key):
            await self._app(scope, receive, send)
            return
        message = f"An {kind} key is needed: send the header Authorization: Bearer <key>."
        if key:
            message = f"The {kind} key that was sent is not known."
        error = ServiceError(401, "unauthorized", message, {"WWW-Authenticate": "Bearer"})
        await error.response()(scope, receive, send)


def document_keys(app: FastAPI, access: Access) -> None:
    """Say in the OpenAPI document which operations take which key, and how it is sent."""
    build = app.openapi

    def openapi() -> dict[str, Any]:
        document = build()  # FastAPI keeps it
        for path, operations in document["paths"].items():
            kind = access.kind(path)
            if kind is None:
                continue
            for operation in operations.values():
                operation["security"] = [{f"{kind}{way}": []} for way in WAYS]
                schemes = document.setdefault("components", {}).setdefault("securitySchemes", {})
                for way, scheme in WAYS.items():
                    text = f"One of {kind.upper()}_KEYS."
                    schemes[f"{kind}{way}"] = {**scheme, "description": text}
        return document

    app.openapi = openapi  # type: ignore[method-assign]  # as FastAPI's documentation has it


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
