"""Inputs given as web addresses: the files they name, where that is allowed."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Sequence
from typing import Any

from .errors import ServiceError, deadline_exceeded, overloaded
from .url_limits import Budget, UrlLimits

Limits = UrlLimits
KINDS = ("image/", "audio/")  # of files that are inputs
SIMULTANEOUS = 4  # of one request's addresses
# Requests whose files are fetched at the same time; each may hold limits.max_url_bytes. They do not
# count as waiting for the model: slow addresses would turn away those who send their files.
PLACES = asyncio.BoundedSemaphore(32)
WEB_ADDRESS = re.compile(r"\s*https?:", re.IGNORECASE)


async def resolve(value: str, limits: UrlLimits, budget: Budget | None = None) -> bytes | str:
    """What a web address holds; any other text comes back as it is.

    Raises ServiceError (422) where it is not allowed, or cannot be had as an image or a sound.
    """
    if not WEB_ADDRESS.match(value):
        return value
    if not limits.allow_urls:
        message = "The input is a web address; send the file in base64, or set limits.allow_urls."
        raise ServiceError(422, "url_refused", message)
    from .public_web import fetch  # imported here: most services never fetch

    return await fetch(value.strip(), limits, budget or Budget(limits.max_url_bytes))


async def resolve_inputs(inputs: Sequence[Any], limits: UrlLimits, deadline: float) -> list[Any]:
    """A request's inputs with the files in place of web addresses.

    Errors name the input. Raises ServiceError, also where too many requests are being fetched for
    (429), and after `deadline`, of time.monotonic() (503).
    """
    if not any(WEB_ADDRESS.match(_file_of(item)) for item in inputs):
        return list(inputs)
    if PLACES.locked():
        raise overloaded()
    async with PLACES:
        return await _fetch_all(inputs, limits, deadline)


async def _fetch_all(inputs: Sequence[Any], limits: UrlLimits, deadline: float) -> list[Any]:
    budget, turn = Budget(limits.max_url_bytes), asyncio.Semaphore(SIMULTANEOUS)

    async def one(number: int, item: Any) -> Any:
        try:
            async with turn:
                content = await resolve(_file_of(item), limits, budget)
        except ServiceError as error:
            message = f"inputs[{number}]: {error.detail}"
            raise ServiceError(error.status_code, error.code, message) from None
        return {**item, "image": content} if isinstance(item, dict) else content

    tasks = [asyncio.create_task(one(number, item)) for number, item in enumerate(inputs)]
    try:
        async with asyncio.timeout(deadline - time.monotonic()):
            return await asyncio.gather(*tasks)
    except TimeoutError:
        raise deadline_exceeded() from None
    finally:  # one that failed, or a client that left, ends the others
        for task in tasks:
            task.cancel()


def _file_of(item: str | dict[str, Any]) -> str:
    return item if isinstance(item, str) else str(item["image"])
