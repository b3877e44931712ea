"""Connecting to a console's host, but to none of its addresses where no console may be.

The addresses that are checked are those that are dialled: the host is looked up once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.interfaces import (
    IAddress,
    IHostnameResolver,
    IHostResolution,
    IReactorPluggableNameResolver,
    IResolutionReceiver,
    IStreamClientEndpoint,
)
from zope.interface import implementer

from vncproxy.errors import TargetForbidden
from vncproxy.target_rules import TargetRules


def allowed(host: str, addresses: Sequence[str], rules: TargetRules) -> list[str]:
    """Return those of a host's addresses where consoles may be.

    Raises:
        TargetForbidden: there are none.
    """
    found = [address for address in addresses if rules.allow(address)]
    if not found:
        raise TargetForbidden(
            f"{host} is at {', '.join(addresses)}, where no console may be; "
            "see [vncproxy] target_networks"
        )
    return found


def endpoint_at(
    reactor: Any,  # noqa: ANN401  all of its interfaces
    addresses: Sequence[str],
    port: int,
    timeout_s: float,
) -> IStreamClientEndpoint:
    """Return what connects to the first of the addresses that takes the connection.

    Args:
        reactor: connects.
        addresses: one or more; the next is tried beside those before it, as RFC 8305 has it.
        port: to connect to.
        timeout_s: seconds, > 0, for each connection.
    """
    if len(addresses) > 1:
        known: Any = _ReactorThatKnows(reactor, addresses)
        return HostnameEndpoint(known, addresses[0], port, timeout_s)
    kind = TCP6ClientEndpoint if ":" in addresses[0] else TCP4ClientEndpoint
    endpoint: IStreamClientEndpoint = kind(reactor, addresses[0], port, timeout_s)
    return endpoint


@implementer(IReactorPluggableNameResolver)
class _ReactorThatKnows:
    """A reactor for which every host has these addresses."""

    def __init__(self, reactor: object, addresses: Sequence[str]) -> None:
        self._reactor = reactor
        self.nameResolver = _Known(addresses)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  whatever the reactor has
        return getattr(self._reactor, name)

    def installNameResolver(self, resolver: IHostnameResolver) -> IHostnameResolver:
        """Refuse: this one has its resolver for good."""
        raise NotImplementedError


@implementer(IHostnameResolver)
class _Known:
    def __init__(self, addresses: Sequence[str]) -> None:
        self._addresses = addresses

    def resolveHostName(
        self,
        resolutionReceiver: IResolutionReceiver,
        hostName: str,
        portNumber: int = 0,
        addressTypes: Sequence[type[IAddress]] | None = None,
        transportSemantics: str = "TCP",
    ) -> IHostResolution:
        """Answer at once (see ``IHostnameResolver``)."""
        for address in self._addresses:
            kind = IPv6Address if ":" in address else IPv4Address
            resolutionReceiver.addressResolved(kind("TCP", address, portNumber))
        resolutionReceiver.resolutionComplete()
        return _Resolved(hostName)


@implementer(IHostResolution)
class _Resolved:
    """A look-up that is over."""

    def __init__(self, name: str) -> None:
        self.name = name

    def cancel(self) -> None:
        """Do nothing."""
