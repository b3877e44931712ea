"""The console's end of a session: dialling its server, and the leg made of that connection."""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn

from twisted.internet.defer import CancelledError, Deferred, TimeoutError
from twisted.internet.endpoints import HostnameEndpoint, UNIXClientEndpoint
from twisted.internet.error import (
    ConnectError,
    ConnectingCancelledError,
    ConnectionDone,
    ConnectionRefusedError,
    DNSLookupError,
    UnknownHostError,
)
from twisted.internet.error import TimeoutError as ConnectTimeout
from twisted.internet.interfaces import (
    IReactorTime,
    IStreamClientEndpoint,
    ITCPTransport,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from typing_extensions import override

from vncproxy.errors import TargetRefused, TargetTimeout, TargetUnreachable
from vncproxy.interfaces import IStreamTransport, Leg, Throttled
from vncproxy.model import Ending, Grant
from vncproxy.splice.producer import Producer


class TargetProtocol(Protocol):
    """The TCP or UNIX connection to a console's server: the other leg of a session."""

    received: Callable[[bytes], None]
    lost: Callable[[Ending, str], None]
    transport: IStreamTransport
    _source: Throttled | None = None

    @override
    def connectionMade(self) -> None:
        if ITCPTransport.providedBy(self.transport):
            self.transport.setTcpNoDelay(True)
            self.transport.setTcpKeepAlive(True)

    @override
    def dataReceived(self, data: bytes) -> None:
        self.received(data)

    @override
    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if reason.check(ConnectionDone):
            self.lost(Ending.SERVER_CLOSED, "")
        else:
            self.lost(Ending.SERVER_LOST, reason.getErrorMessage())

    def write(self, data: bytes) -> None:
        """Send bytes to the server."""
        self.transport.write(data)

    def close(self, ending: Ending) -> None:
        """Close once the server has taken what was written; TCP has no words for the ending."""
        self.throttle_by(None)
        self.resume()
        self.transport.loseConnection()

    def abort(self) -> None:
        """Drop the connection."""
        self.transport.abortConnection()

    def pause(self) -> None:
        """Stop reading from the server."""
        self.transport.pauseProducing()

    def resume(self) -> None:
        """Read from the server again."""
        self.transport.resumeProducing()

    def throttle_by(self, source: Throttled | None) -> None:
        """Let the server's reading pause and resume ``source``."""
        if self._source is not None:
            self.transport.unregisterProducer()
        self._source = source
        if source is not None:
            self.transport.registerProducer(Producer(source), True)


class Dialer:
    """Connects to the servers of consoles.

    Args:
        reactor: makes the connections.
        timeout_s: seconds, > 0, for name look-up and connection together.
    """

    def __init__(self, reactor: IReactorTime, timeout_s: float) -> None:
        self._reactor = reactor
        self._timeout_s = timeout_s

    async def dial(self, grant: Grant) -> Leg:
        """Return the connection to the grant's server; the caller closes it.

        Raises:
            TargetRefused: nothing listens there.
            TargetUnreachable: no such host, or no way to it.
            TargetTimeout: no answer in time.
        """
        where = grant.target
        factory: Factory[TargetProtocol] = Factory.forProtocol(TargetProtocol)
        factory.noisy = False
        connecting: Deferred[TargetProtocol] = self._endpoint(grant).connect(factory)  # type: ignore[assignment]  # the factory's protocol
        connecting.addTimeout(self._timeout_s, self._reactor, _too_late)
        try:
            return await connecting
        except ConnectingCancelledError as error:
            raise CancelledError from error  # the word for it everywhere else
        except (TimeoutError, ConnectTimeout) as error:
            raise TargetTimeout(f"{where} did not answer in {self._timeout_s:g} s") from error
        except ConnectionRefusedError as error:
            raise TargetRefused(f"{where} refused the connection") from error
        except (DNSLookupError, UnknownHostError) as error:
            raise TargetUnreachable(f"{where}: no such host") from error
        except (ConnectError, OSError) as error:
            raise TargetUnreachable(f"{where}: {error}") from error

    def _endpoint(self, grant: Grant) -> IStreamClientEndpoint:
        if grant.host.startswith("/"):
            return UNIXClientEndpoint(self._reactor, grant.host, self._timeout_s)
        return HostnameEndpoint(self._reactor, grant.host, grant.port, self._timeout_s)


def _too_late(_cancelled: object, timeout_s: float) -> NoReturn:
    raise TimeoutError(timeout_s)
