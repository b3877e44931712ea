"""A listening socket that the parent holds and the workers accept from.

All workers accept from the same socket, so that whichever of them lives serves whoever comes, and
nobody is refused while another is started. (With a socket each, by SO_REUSEPORT, the connections
that the kernel has dealt to a dead worker are lost or must wait for the next one.)
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IStreamServerEndpoint
from twisted.protocols.tls import TLSMemoryBIOFactory
from zope.interface import implementer

from vncproxy.edge.shared_port import SharedPort
from vncproxy.listener import endpoint_from


@implementer(IStreamServerEndpoint)
class HeldOpen:
    """The parent's end: opens an endpoint's socket, and leaves the accepting to the workers.

    Args:
        endpoint: whose socket it is.

    Attributes:
        descriptor: of the socket, while it is open.
    """

    def __init__(self, endpoint: IStreamServerEndpoint) -> None:
        self._endpoint = endpoint
        self.descriptor = -1

    def listen(self, factory: IProtocolFactory) -> Deferred[IListeningPort]:
        """Open the socket; the factory will see no connection."""
        return self._endpoint.listen(factory).addCallback(self._hold)

    def _hold(self, port: Any) -> Any:  # noqa: ANN401  a listening port, and a file descriptor
        port.stopReading()
        self.descriptor = port.fileno()
        return port


def inherited_endpoint(
    reactor: Any,  # noqa: ANN401  all of its interfaces
    description: str,
    descriptor: int,
    ahead: Callable[[], bool],
) -> IStreamServerEndpoint:
    """Return a worker's end: the endpoint that the string describes, on a socket that is open.

    Args:
        reactor: accepts.
        description: of the endpoint; what it wraps around the socket, TLS for one, stays.
        descriptor: of the listening socket, owned by the endpoint.
        ahead: whether this worker should let the others go first.
    """
    # systemd gave its sockets to the parent alone, so here the string's parser would find none.
    description = re.sub(r"(^|:)systemd:.*", r"\1tcp:0", description)
    return endpoint_from(_OnOpenSocket(reactor, descriptor, ahead), description)


class _OnOpenSocket:
    """A reactor whose listening, whatever the address, is accepting from one open socket."""

    def __init__(self, reactor: Any, descriptor: int, ahead: Callable[[], bool]) -> None:  # noqa: ANN401
        self._reactor = reactor
        self._descriptor = descriptor
        self._ahead = ahead

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        return getattr(self._reactor, name)

    def _listen(self, factory: IProtocolFactory) -> SharedPort:
        port = SharedPort(self._reactor, self._descriptor, factory, self._ahead)
        port.startListening()
        return port

    def listenTCP(  # noqa: N802
        self, port: int, factory: IProtocolFactory, backlog: int = 50, interface: str = ""
    ) -> SharedPort:
        return self._listen(factory)

    def listenSSL(  # noqa: N802
        self,
        port: int,
        factory: IProtocolFactory,
        contextFactory: Any,  # noqa: ANN401, N803
        backlog: int = 50,
        interface: str = "",
    ) -> SharedPort:
        return self._listen(TLSMemoryBIOFactory(contextFactory, False, factory))

    def listenUNIX(  # noqa: N802
        self,
        address: str,
        factory: IProtocolFactory,
        backlog: int = 50,
        mode: int = 0o666,
        wantPID: bool = False,  # noqa: N803
    ) -> SharedPort:
        return self._listen(factory)
