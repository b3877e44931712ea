"""Connecting to a name, but to none of its addresses where no console may be.

The addresses that are checked are those that are dialled: the name is resolved once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.error import DNSLookupError
from twisted.internet.interfaces import (
    IAddress,
    IHostnameResolver,
    IHostResolution,
    IProtocol,
    IProtocolFactory,
    IReactorPluggableNameResolver,
    IResolutionReceiver,
    IStreamClientEndpoint,
)
from twisted.python.failure import Failure
from zope.interface import implementer

from vncproxy.errors import TargetForbidden
from vncproxy.target_rules import TargetRules


@implementer(IStreamClientEndpoint)
class CheckedEndpoint:
    """A TCP endpoint by name, which may be an address.

    Args:
        reactor: resolves and connects.
        host: name or address.
        port: to connect to.
        timeout_s: seconds, > 0, for each connection.
        rules: decide on the addresses.
    """

    def __init__(
        self,
        reactor: Any,  # noqa: ANN401  all of its interfaces
        host: str,
        port: int,
        timeout_s: float,
        rules: TargetRules,
    ) -> None:
        self._host = host
        self._resolver = _CheckedResolver(reactor.nameResolver, rules)
        checked: Any = _ReactorWithResolver(reactor, self._resolver)
        self._endpoint = HostnameEndpoint(checked, host, port, timeout_s)

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """Connect; fails with ``TargetForbidden`` where no address of the name is allowed."""
        connecting: Deferred[IProtocol] = self._endpoint.connect(protocolFactory)
        return connecting.addErrback(self._explain)

    def _explain(self, failure: Failure) -> Failure:
        refused = self._resolver.refused
        if failure.check(DNSLookupError) and refused:
            raise TargetForbidden(
                f"{self._host} is at {', '.join(refused)}, where no console may be; "
                "see [vncproxy] target_networks"
            ) from failure.value
        return failure


@implementer(IReactorPluggableNameResolver)
class _ReactorWithResolver:
    """A reactor whose names are resolved by another resolver."""

    def __init__(self, reactor: object, resolver: IHostnameResolver) -> None:
        self._reactor = reactor
        self.nameResolver = resolver

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  whatever the reactor has
        return getattr(self._reactor, name)

    def installNameResolver(self, resolver: IHostnameResolver) -> IHostnameResolver:
        """Refuse: this one has its resolver for good."""
        raise NotImplementedError


@implementer(IHostnameResolver)
class _CheckedResolver:
    """Passes on the allowed addresses of names.

    Attributes:
        refused: the others.
    """

    def __init__(self, resolver: IHostnameResolver, rules: TargetRules) -> None:
        self._resolver = resolver
        self._rules = rules
        self.refused: list[str] = []

    def resolveHostName(
        self,
        resolutionReceiver: IResolutionReceiver,
        hostName: str,
        portNumber: int = 0,
        addressTypes: Sequence[type[IAddress]] | None = None,
        transportSemantics: str = "TCP",
    ) -> IHostResolution:
        """Resolve a name (see ``IHostnameResolver``)."""
        filtered = _Filter(resolutionReceiver, self._rules, self.refused)
        return self._resolver.resolveHostName(
            filtered, hostName, portNumber, addressTypes, transportSemantics
        )


@implementer(IResolutionReceiver)
class _Filter:
    def __init__(
        self, receiver: IResolutionReceiver, rules: TargetRules, refused: list[str]
    ) -> None:
        self._receiver = receiver
        self._rules = rules
        self._refused = refused

    def resolutionBegan(self, resolutionInProgress: IHostResolution) -> None:
        """Pass on that it began."""
        self._receiver.resolutionBegan(resolutionInProgress)

    def addressResolved(self, address: IAddress) -> None:
        """Pass on an address that is allowed."""
        host: str = getattr(address, "host", "")
        if self._rules.allow(host):
            self._receiver.addressResolved(address)
        else:
            self._refused.append(host)

    def resolutionComplete(self) -> None:
        """Pass on that there are no more."""
        self._receiver.resolutionComplete()
