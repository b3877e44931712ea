"""The console's end of a session: dialling its server, and the leg made of that connection."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NoReturn

from OpenSSL import SSL
from twisted.internet.defer import CancelledError, Deferred, TimeoutError
from twisted.internet.error import (
    ConnectError,
    ConnectingCancelledError,
    ConnectionDone,
    ConnectionRefusedError,
)
from twisted.internet.error import TimeoutError as ConnectTimeout
from twisted.internet.interfaces import (
    IHandshakeListener,
    IReactorTime,
    IStreamClientEndpoint,
    ITCPTransport,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from typing_extensions import override
from zope.interface import implementer

from vncproxy.connect import ConnectRequest
from vncproxy.errors import (
    ConnectRefused,
    HandshakeError,
    SecurityFailed,
    TargetRefused,
    TargetTimeout,
    TargetUnreachable,
)
from vncproxy.interfaces import ITargetTransport, Leg, Throttled
from vncproxy.model import Credentials, Ending, Grant
from vncproxy.openssl import openssl_text
from vncproxy.resolver import Resolver
from vncproxy.rfb.reader import TlsDemand
from vncproxy.splice.last_words import hear_out
from vncproxy.splice.linger import Linger
from vncproxy.splice.producer import Producer
from vncproxy.splice.wire import read_slowly
from vncproxy.target_address import allowed, endpoint_at
from vncproxy.target_rules import TargetRules
from vncproxy.target_socket import CheckedSocket
from vncproxy.target_tls import TargetTls, TlsClient
from vncproxy.targets_file import TargetsFile

_SLOW_S = 1.0  # of a look-up: to be told where it is at fault that a server was not waited for


def _nobody_minds(_ending: Ending, _detail: str) -> None:
    """Take the loss of a connection that has not been given to a session yet."""


@implementer(IHandshakeListener)
class TargetProtocol(Protocol):
    """The TCP or UNIX connection to a console's server: the other leg of a session.

    Args:
        clock: runs the end of a connection that its server does not close.
    """

    received: Callable[[bytes], None]
    lost: Callable[[Ending, str], None] = staticmethod(_nobody_minds)
    transport: ITargetTransport
    frames: None = None
    _source: Throttled | None = None
    _tls: TlsClient | None = None
    _secured: Deferred[None] | None = None
    _linger: Linger | None = None

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock

    @override
    def connectionMade(self) -> None:
        hear_out(self.transport)
        if ITCPTransport.providedBy(self.transport):
            self.transport.setTcpNoDelay(True)
            self.transport.setTcpKeepAlive(True)

    @override
    def dataReceived(self, data: bytes) -> None:
        self.received(data)

    @override
    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._linger is not None:
            self._linger.stop()
        if self._tls is not None and self._secured is not None and not self._secured.called:
            text = self._tls.failure_text(reason.value)
            self._secured.errback(SecurityFailed(text))
        alert = openssl_text(reason.value)
        if reason.check(ConnectionDone) or (not alert and self._said_its_end()):
            self.lost(Ending.SERVER_CLOSED, "")
        else:
            self.lost(Ending.SERVER_LOST, alert or reason.getErrorMessage())

    def _said_its_end(self) -> bool:
        """Return whether the server ended TLS in order, whatever became of TCP after that."""
        if self._tls is None:
            return False
        return bool(self.transport.getHandle().get_shutdown() & SSL.RECEIVED_SHUTDOWN)

    def start_tls(self, client: TlsClient) -> Deferred[None]:
        """Speak TLS from here on; the Deferred fires when the server has proved who it is.

        It fails with ``SecurityFailed``. Nothing that is secret may be written before it fires.
        """
        self._tls = client
        self._secured = Deferred()
        self.transport.startTLS(client)
        return self._secured

    def handshakeCompleted(self) -> None:
        """Check whose certificate it is, before anything is said or believed."""
        if self._tls is None or self._secured is None or self._secured.called:
            return
        try:
            self._tls.check_identity(self.transport.getHandle())
        except SecurityFailed as error:
            self.abort()
            self._secured.errback(error)
        else:
            self._secured.callback(None)

    def write(self, data: bytes) -> None:
        """Send bytes to the server."""
        self.transport.write(data)

    def close(self, ending: Ending, words: str) -> None:
        """Close once the server has taken what was written; TCP has no words for the ending."""
        self.throttle_by(None)
        read_slowly(self.transport)
        self.resume()
        if self._tls is not None:
            self.transport.loseConnection()  # says so in TLS, and reads on until the server does
        else:
            # To close with bytes unread would reset the connection, and with it lose those that
            # the server has not been sent yet. So say that we are done, and read to its end.
            self.transport.loseWriteConnection()
        self._linger = Linger(self._clock, self.transport)

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


@dataclass(frozen=True, slots=True)
class Reached:
    """A console's server that took our connection.

    Attributes:
        leg: the connection; the caller closes it.
        early: bytes of its stream that came with the answer to a CONNECT.
        credentials: what to say when the server asks who we are, or None.
        secure: starts TLS on the connection (see ``TargetProtocol.start_tls``).
    """

    leg: Leg
    early: bytes
    credentials: Credentials | None
    secure: Callable[[TlsDemand], Deferred[None]]


class Dialer:
    """Connects to the servers of consoles.

    Args:
        reactor: makes the connections.
        timeout_s: seconds, > 0, for name look-up and connection together.
        tls: makes TLS connections.
        targets: what is known of certain servers.
        resolver: looks their hosts up.
        rules: where they may be.
    """

    def __init__(
        self,
        reactor: IReactorTime,
        timeout_s: float,
        tls: TargetTls,
        targets: TargetsFile,
        resolver: Resolver,
        rules: TargetRules | None = None,
    ) -> None:
        self._reactor = reactor
        self._timeout_s = timeout_s
        self._tls = tls
        self._targets = targets
        self._resolver = resolver
        self._rules = rules or TargetRules()
        self._factory: Factory[TargetProtocol] = Factory.forProtocol(
            partial(TargetProtocol, reactor)
        )
        self._factory.noisy = False

    async def dial(self, grant: Grant) -> Reached:
        """Return the connection to the grant's server.

        Raises:
            TargetForbidden: no console may be there.
            TargetRefused: nothing listens there.
            TargetUnresolved: where its host is could not be found out, or not in time.
            TargetUnreachable: no such host, or no way to it.
            TargetTimeout: no answer in time.
            ConnectRefused: the CONNECT that the grant asks for failed.
            SecurityFailed: TLS from the first byte failed, or what is needed for it can't be read.
        """
        options = self._targets.options_for(grant.host, grant.port)
        leg = await self._connect(grant)

        def secure(demand: TlsDemand) -> Deferred[None]:
            return leg.start_tls(self._tls.client(grant.host, demand))

        early = b""
        try:
            if grant.internal_access_path:
                early = await _connect_through(leg, grant.internal_access_path)
            if options.tls:
                await secure(TlsDemand.X509)
        except BaseException:  # a cancelled session's too
            leg.abort()
            raise
        return Reached(leg, early, grant.credentials or options.credentials, secure)

    async def _connect(self, grant: Grant) -> TargetProtocol:
        where = grant.target
        begun = self._reactor.seconds()
        endpoint = await self._endpoint(grant)
        looked_up_s = self._reactor.seconds() - begun
        connecting: Deferred[TargetProtocol] = endpoint.connect(self._factory)  # type: ignore[assignment]  # the factory's protocol
        rest_s = max(0.0, self._timeout_s - looked_up_s)
        connecting.addTimeout(rest_s, self._reactor, _too_late)
        try:
            return await connecting
        except ConnectingCancelledError as error:
            raise CancelledError from error  # the word for it everywhere else
        except (TimeoutError, ConnectTimeout) as error:
            spent = f", {looked_up_s:.1f} of them for its name" if looked_up_s >= _SLOW_S else ""
            text = f"{where} did not answer in {self._timeout_s:g} s{spent}"
            raise TargetTimeout(text) from error
        except ConnectionRefusedError as error:
            raise TargetRefused(f"{where} refused the connection") from error
        except (ConnectError, OSError) as error:
            raise TargetUnreachable(f"{where}: {error}") from error

    async def _endpoint(self, grant: Grant) -> IStreamClientEndpoint:
        """Return what connects to the grant's server, and to nothing that was not checked."""
        if grant.host.startswith("/"):
            check = partial(self._rules.check_socket, ours=grant.ours)
            return CheckedSocket(self._reactor, grant.host, self._timeout_s, check)
        self._rules.check_port(grant.port)
        found = await self._resolver.resolve(grant.host, self._timeout_s)
        addresses = allowed(grant.host, found, self._rules)
        return endpoint_at(self._reactor, addresses, grant.port, self._timeout_s)


def _too_late(_cancelled: object, timeout_s: float) -> NoReturn:
    raise TimeoutError(timeout_s)


def _connect_through(leg: TargetProtocol, path: str) -> Deferred[bytes]:
    """Make the hypervisor connect us to a console; return what came behind its answer."""
    request = ConnectRequest(path)
    connected: Deferred[bytes] = Deferred()

    def received(data: bytes) -> None:
        try:
            request.receive(data)
        except HandshakeError as error:
            connected.errback(error)
        else:
            if request.result is not None:
                connected.callback(request.rest())

    def lost(_ending: Ending, detail: str) -> None:
        if not connected.called:
            connected.errback(ConnectRefused(f"no answer to CONNECT: {detail or 'closed'}"))

    leg.received, leg.lost = received, lost
    leg.write(request.data_to_send())
    return connected
