"""Fetching what a client names: from the public internet, and never from inside the network.

Who can name an address makes this machine ask for it, also of what only this machine can reach: a
cloud's metadata, a database, a router. So every address that a name stands for must be public, and
the connection goes to the very address that was checked: a name that means another machine a
moment later gains nothing. Messages never repeat the address.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from dataclasses import dataclass
from functools import cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from ssl import SSLContext

import httpx2

from .errors import ServiceError
from .fetching import KINDS
from .url_limits import Budget, UrlLimits

MAX_REDIRECTS = 3
HEADERS = {"Accept": "image/*, audio/*", "Accept-Encoding": "identity", "User-Agent": "inference"}

for name in ("httpx2", "httpcore2"):  # they log addresses, which are input
    logging.getLogger(name).setLevel(logging.WARNING)

# IPv6 that carries an IPv4 address, whose network it would reach; and the old site-local range
CARRIERS = tuple(
    IPv6Network(network)
    for network in (
        *("::/96", "::ffff:0:0/96", "::ffff:0:0:0/96", "2001::/32", "2002::/16"),
        *("64:ff9b::/96", "64:ff9b:1::/48", "fec0::/10"),
    )
)
# Public by their numbers, and answered by the cloud's own machinery, which knows a machine's
# secrets: Azure's, and the addresses of protocols, of which Oracle's has one.
NEAR = (IPv4Network("168.63.129.16/32"), IPv4Network("192.0.0.0/24"))


@dataclass(frozen=True)
class Redirect:
    """An answer that names another address."""

    location: str


async def fetch(address: str, limits: UrlLimits, budget: Budget) -> bytes:
    """The image or sound at an address. Raises ServiceError (422)."""
    try:
        async with asyncio.timeout(limits.url_seconds):
            return await _follow(address, limits, budget)
    except TimeoutError:
        raise _failed(f"did not arrive within {limits.url_seconds:g} seconds") from None
    except (httpx2.HTTPError, OSError, UnicodeError):
        raise _failed("cannot be fetched: its server does not answer as it should") from None


async def _follow(address: str, limits: UrlLimits, budget: Budget) -> bytes:
    url = _parse(address)
    for _ in range(MAX_REDIRECTS + 1):
        _check(url, limits)
        found = await _request(url, await _public_address(url), budget)
        if isinstance(found, bytes):
            return found
        url = _next(url, found)
    raise _refused(f"is redirected more than {MAX_REDIRECTS} times")


async def _request(
    url: httpx2.URL, peer: IPv4Address | IPv6Address, budget: Budget
) -> bytes | Redirect:
    """The content, or where it has gone."""
    # The environment's proxies would connect to whatever the name means to them. A client of its
    # own for each request: connections are shared by address, whatever name they were made for.
    async with (
        httpx2.AsyncClient(trust_env=False, verify=_tls(), timeout=None) as client,
        client.stream(
            "GET",
            url.copy_with(host=str(peer)),
            headers={**HEADERS, "Host": url.netloc.decode("ascii")},
            extensions={"sni_hostname": url.host},  # the name its certificate has to show
        ) as response,
    ):
        if response.has_redirect_location:
            return Redirect(response.headers["location"])
        return await _read(response, budget)


def _parse(address: str) -> httpx2.URL:
    try:
        return httpx2.URL(address)
    except (httpx2.InvalidURL, ValueError):
        raise _refused("is no valid address") from None


def _next(url: httpx2.URL, redirect: Redirect) -> httpx2.URL:
    try:
        target = url.join(redirect.location)
    except (httpx2.InvalidURL, ValueError):
        raise _refused("is redirected to no valid address") from None
    if url.scheme == "https" and target.scheme != "https":
        raise _refused("is redirected from https to what is not")
    return target


def _check(url: httpx2.URL, limits: UrlLimits) -> None:
    if url.scheme not in ("http", "https") or not url.host:
        raise _refused("must begin with https:// or http:// and name a host")
    if url.userinfo:
        raise _refused("holds a user name or password; sign the address instead")
    if (url.port or (443 if url.scheme == "https" else 80)) not in limits.url_ports:
        raise _refused(f"names another port than {', '.join(map(str, limits.url_ports))}")
    host = url.host.lower().rstrip(".")
    if limits.url_hosts and not any(_is_allowed(host, each) for each in limits.url_hosts):
        raise _refused("names a host that is not one of limits.url_hosts")


def _is_allowed(host: str, allowed: str) -> bool:
    """`example.org` allows itself alone, `.example.org` all below it."""
    allowed = allowed.lower()
    return host.endswith(allowed) if allowed.startswith(".") else host == allowed


async def _public_address(url: httpx2.URL) -> IPv4Address | IPv6Address:
    """An address of the URL's host. Raises ServiceError unless all of them are public."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(url.host, None, type=socket.SOCK_STREAM)
    addresses = [ip_address(entry[4][0]) for entry in found]
    if not addresses or not all(is_public(address) for address in addresses):
        raise _refused("names a host that is not on the public internet")
    return addresses[0]


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Whether it is a machine on the internet, and nothing nearer."""
    carried = address.version == 6 and any(address in network for network in CARRIERS)
    special = address.is_multicast or address.is_reserved or address.is_unspecified
    near = address.is_private or address.is_loopback or address.is_link_local
    cloud = any(address in network for network in NEAR)
    return address.is_global and not (carried or special or near or cloud)


async def _read(response: httpx2.Response, budget: Budget) -> bytes:
    if response.status_code != 200:
        raise _failed(f"is answered with status {response.status_code}")
    kind = response.headers.get("content-type", "").lower()
    if not kind.startswith(KINDS):
        raise _failed("is neither an image nor a sound, by its Content-Type")
    if response.headers.get("content-encoding", "identity").lower() != "identity":
        raise _failed("comes compressed, which was not asked for")  # may be a bomb
    content = bytearray()
    async for piece in response.aiter_raw():
        budget.left -= len(piece)
        if budget.left < 0:
            raise _failed("is larger than limits.max_url_bytes, with the request's other files")
        content += piece
    return bytes(content)


@cache
def _tls() -> SSLContext:
    return httpx2.create_ssl_context()


def _refused(why: str) -> ServiceError:
    return ServiceError(422, "url_refused", f"The input {why}.")


def _failed(why: str) -> ServiceError:
    return ServiceError(422, "url_failed", f"What the input's address names {why}.")
