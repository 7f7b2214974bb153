"""Whether inputs may be given as web addresses, and which."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import PositiveFloat, PositiveInt

from .input_limits import InputLimits


class UrlLimits(InputLimits):
    """And what of the web is fetched for clients; see public_web.py for what never is."""

    allow_urls: bool = False
    """Whether an input may be a web address, which the service then fetches."""
    url_hosts: list[str] = []
    """The only hosts to fetch from; `.example.org` is every host below it. Empty: any public."""
    url_ports: list[int] = [443, 80]
    """The only ports to fetch from."""
    url_seconds: PositiveFloat = 10.0
    """Longest time for one address, with its redirects."""
    max_url_bytes: PositiveInt = 16_777_216
    """Bytes fetched for one request, all its addresses together."""


@dataclass
class Budget:
    """Bytes that may still be fetched for one request."""

    left: int
