"""Whose pages may open consoles: the Origin rules of nova's proxies (facts of 5.6).

A browser always sends Origin with a WebSocket; a request without one is no browser's, and has no
user whose cookies it could abuse, so it passes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

from vncproxy.errors import OriginRefused

# A console reached by WebSocket URL is opened by pages of the matching HTTP scheme.
_SCHEMES_BY_BASE = {"ws": ("ws", "http"), "wss": ("wss", "https")}


@dataclass(frozen=True, slots=True)
class Origin:
    """A request's origin: who made the page that sent it."""

    scheme: str
    host: str


class OriginRules:
    """Checks the Origin header of requests.

    Args:
        allowed_hosts: host names, besides each request's own Host, whose pages may open consoles.
    """

    def __init__(self, allowed_hosts: Iterable[str]) -> None:
        self.allow(allowed_hosts)

    def allow(self, allowed_hosts: Iterable[str]) -> None:
        """Let the pages of these hosts, and no others, open consoles from now on."""
        self._allowed_hosts = frozenset(host.lower() for host in allowed_hosts)

    def check_host(
        self, origin_header: str | None, host_header: str | None, forwarded_proto: str | None
    ) -> Origin | None:
        """Return the origin, if its host may open consoles; None if there is no origin.

        Args:
            origin_header: the Origin header's value.
            host_header: the Host header's value.
            forwarded_proto: X-Forwarded-Proto; a balancer that ends TLS tells the scheme in it.

        Raises:
            OriginRefused: the origin is malformed, opaque ("null"), or of another host.
        """
        if origin_header is None:
            return None
        origin = _parse_origin(origin_header)
        if origin is None:
            raise OriginRefused(f"the Origin {origin_header[:100]!r} is not valid")
        own_host = _host_of(host_header or "")
        if origin.host not in self._allowed_hosts and origin.host != own_host:
            raise OriginRefused(
                f"the Origin's host {origin.host[:100]!r} is neither this gateway's nor in "
                "[console] allowed_origins"
            )
        scheme = (forwarded_proto or "").split(",")[0].strip().lower()
        return Origin(scheme or origin.scheme, origin.host)

    def check_scheme(self, origin: Origin | None, access_url_base: str | None) -> None:
        """Check that the origin's scheme is the one that the token was issued for.

        Raises:
            OriginRefused: it is another, so somebody is between the user and the gateway, or the
                issuer's base URL is wrong.
        """
        if origin is None:
            return
        base_scheme = urlsplit(access_url_base or "").scheme
        if origin.scheme not in _SCHEMES_BY_BASE.get(base_scheme, (base_scheme,)):
            raise OriginRefused(
                f"the Origin's scheme {origin.scheme!r} does not fit the token's base URL "
                f"({base_scheme or 'none'}); does the balancer send X-Forwarded-Proto?"
            )


def _parse_origin(header: str) -> Origin | None:
    try:
        parts = urlsplit(header.strip())
        host = parts.hostname
    except ValueError:
        return None
    return Origin(parts.scheme.lower(), host) if parts.scheme and host else None


def _host_of(header: str) -> str:
    """Return the host part of a Host header, lower-cased: an IPv6 address without brackets."""
    text = header.strip().lower()
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0] if text.count(":") == 1 else text
