"""Whose pages may open consoles: the Origin rules of nova's proxies.

A browser always sends Origin with a WebSocket; a request without one is no browser's, and has no
user whose cookies it could abuse, so it passes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from vncproxy.errors import OriginRefused
from vncproxy.web.authority import Authority

_SCHEME = re.compile(rb"[a-z][a-z0-9+.-]{0,31}")
_BASE = re.compile(r"(https?|wss?)://.*", re.IGNORECASE | re.DOTALL)
# A console reached by WebSocket URL is opened by pages of the matching HTTP scheme.
_SCHEMES_BY_BASE = {
    "http": ("http",),
    "https": ("https",),
    "ws": ("ws", "http"),
    "wss": ("wss", "https"),
}


@dataclass(frozen=True, slots=True)
class Origin:
    """A request's origin: who made the page that sent it."""

    scheme: str
    authority: Authority

    @classmethod
    def recognise(cls, value: bytes) -> Origin | None:
        """Return the origin that the value is, in its one serialised form (RFC 6454 §6.2).

        Opaque origins, which browsers write as ``null``, are none.
        """
        scheme, separator, rest = value.partition(b"://")
        authority = Authority.recognise(rest)
        if not separator or authority is None or _SCHEME.fullmatch(scheme) is None:
            return None
        return cls(scheme.decode("ascii"), authority)

    def serialise(self) -> str:
        """Return the origin as a browser sends it."""
        return f"{self.scheme}://{self.authority.serialise()}"


class OriginRules:
    """Checks the origins of requests.

    Args:
        allowed_hosts: host names, besides each request's own Host, whose pages may open consoles.
    """

    def __init__(self, allowed_hosts: Iterable[str]) -> None:
        self.allow(allowed_hosts)

    def allow(self, allowed_hosts: Iterable[str]) -> None:
        """Let the pages of these hosts, and no others, open consoles from now on."""
        self._allowed_hosts = frozenset(host.lower() for host in allowed_hosts)

    def check_host(self, origin: Origin | None, host: Authority | None) -> None:
        """Check that the origin's host may open consoles.

        Args:
            origin: of the page that made the request; None for a program's.
            host: what the request names as its own; None where it names none.

        Raises:
            OriginRefused: the page is of another host.
        """
        if origin is None:
            return
        page_host = origin.authority.name
        if page_host in self._allowed_hosts or (host is not None and page_host == host.name):
            return
        raise OriginRefused(
            f"the Origin's host {page_host[:100]!r} is neither this gateway's nor in "
            "[console] allowed_origins"
        )

    def check_scheme(
        self, origin: Origin | None, forwarded_proto: str | None, access_url_base: str | None
    ) -> None:
        """Check that the page's scheme is the one that the token was issued for.

        Args:
            origin: of the page that made the request; None for a program's.
            forwarded_proto: the scheme that a balancer saw, which counts for the page's own.
            access_url_base: of the token's row.

        Raises:
            OriginRefused: it is another, so somebody is between the user and the gateway, or the
                issuer's base URL is wrong.
        """
        if origin is None:
            return
        found = _BASE.fullmatch(access_url_base or "")
        base_scheme = found[1].lower() if found else ""
        scheme = forwarded_proto or origin.scheme
        if scheme not in _SCHEMES_BY_BASE.get(base_scheme, ()):
            raise OriginRefused(
                f"the Origin's scheme {scheme!r} does not fit the token's base URL "
                f"({base_scheme or 'none'}); does the balancer send X-Forwarded-Proto?"
            )
