"""Who asks, and what they may open."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from vncproxy.compute.interface import Server
from vncproxy.patterns import matches

PREFIX = "vnc_"  # of our tokens, so that scanners for leaked secrets, and people, know one


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody whom a method of authentication knows.

    Attributes:
        name: for the audit.
        servers: names (or patterns, with ``*``) and UUIDs of those that they may open.
        projects: whose servers they may open all.
        admin: may open every server, see hosts, and look tokens up.
        refusal: why they may ask for nothing, though it is known who they are; or None.
    """

    name: str
    servers: tuple[str, ...] = ()
    projects: tuple[str, ...] = ()
    admin: bool = False
    refusal: str | None = None

    def may_open(self, server: Server) -> bool:
        """Whether they may see the server, and open its consoles."""
        if self.admin or (server.project and server.project in self.projects):
            return True
        return any(
            matches(pattern, server.name) or pattern.lower() == server.id
            for pattern in self.servers
        )


@dataclass(frozen=True, slots=True)
class Presented:
    """What a request brings to say whose it is.

    Attributes:
        token: of ``X-Auth-Token`` or ``Authorization``, or None.
        user: that ``Authorization: Basic`` names beside it, or None.
        certificate: whom the TLS client certificate names, which is verified (see
            ``edge.client_identity``); empty where it names nobody, None where there is none.
        host: that the request's Host header names, without its port, in lower case, or None.
    """

    token: str | None = field(repr=False)
    user: str | None = None
    certificate: tuple[str, ...] | None = None
    host: str | None = None


class Authenticator(Protocol):
    """One method of authentication."""

    async def caller_of(self, presented: Presented) -> Caller | None:
        """Return whose the request is, or None where this method does not know them.

        Raises:
            Fault: it can't be found out now (503).
        """
