"""The first protocol of a connection: who it is from, and whether it speaks TLS.

``FirstByte`` reads the PROXY header, then looks at the first byte behind it, as websockify does.
Then it leaves: the transport's protocol is the site's, or Twisted's TLS with that one in it, as
if it had been listened for directly, and no byte passes through here any more. The transport's
``getPeer`` tells the client's address from then on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IProtocol,
    IProtocolFactory,
    IReactorTime,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger
from twisted.protocols.tls import BufferingTLSTransport, TLSMemoryBIOFactory
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel
from typing_extensions import override

from vncproxy.edge.networks import TrustedProxies
from vncproxy.edge.pending import PendingConnections
from vncproxy.edge.proxy_header import ProxyHeaderError, parse_proxy_header
from vncproxy.edge.quiet_log import QuietLog
from vncproxy.edge.tls import TlsServer
from vncproxy.interfaces import IStreamTransport
from vncproxy.openssl import openssl_text

_TLS_FIRST_BYTES = b"\x16\x80"  # a handshake record; the hello of SSL 2, which OpenSSL refuses
_PIECE_BYTES = 4096  # given to OpenSSL at once: it keeps room for the most that it ever got
_NOT_TLS = b"This port speaks TLS only. Use https:// in the address.\n"
_NOT_TLS_ANSWER = (
    b"HTTP/1.1 400 Bad Request\r\nServer: vncproxy\r\nConnection: close\r\n"
    b"Content-Type: text/plain\r\nContent-Length: %d\r\n\r\n%b" % (len(_NOT_TLS), _NOT_TLS)
)


def names_no_client(accepted: object) -> bool:
    """Return whether a balancer's PROXY header named no client for this accepted transport.

    Who it is for is not known then, and what the request says of that is not the balancer's word.
    """
    return getattr(accepted, "names_no_client", False)


@dataclass(frozen=True, slots=True)
class FirstByteRules:
    """What a listener asks of a connection before the site sees it.

    Attributes:
        trusted: the balancers.
        proxy_header: whether each connection must come from one, and begin with a PROXY header.
        tls: speaks TLS with those who begin it; None for a listener without TLS.
        tls_only: whether everybody must begin it, even if no certificate is required.
        timeout_s: seconds for the PROXY header and the first byte.
    """

    trusted: TrustedProxies
    proxy_header: bool
    tls: TlsServer | None
    tls_only: bool
    timeout_s: float

    @property
    def refuses_plain(self) -> bool:
        """Whether everybody must begin TLS now; a reload can change it."""
        return self.tls is not None and (self.tls_only or self.tls.requires_certificates)


class FirstByteFactory(Factory):
    """Looks at the first bytes of what another factory serves.

    Args:
        rules: of the listener.
        site: serves whoever is let in.
        pending: bounds the connections that are nobody's yet; the site's too.
        clock: runs the time-out.
    """

    noisy = False
    _log = Logger()

    def __init__(
        self,
        rules: FirstByteRules,
        site: IProtocolFactory,
        pending: PendingConnections,
        clock: IReactorTime,
    ) -> None:
        self.rules = rules
        self.site = site
        self.pending = pending
        self.clock = clock
        self._lines = QuietLog(self._log, clock)
        self._tls = None
        if rules.tls is not None:
            self._tls = TLSMemoryBIOFactory(rules.tls, False, site, clock)

    @override
    def doStart(self) -> None:
        self.site.doStart()

    @override
    def doStop(self) -> None:
        self.site.doStop()

    @override
    def buildProtocol(self, addr: IAddress | None) -> FirstByte:
        return FirstByte(self)

    def inner(self, address: IAddress, secure: bool) -> IProtocol | None:
        """Return what serves a client from now on; None if the site takes no more."""
        protocol = self.site.buildProtocol(address)
        if protocol is not None and secure and self._tls is not None:
            return cast("IProtocol", _Tls(self._tls, protocol))
        return protocol

    def warn(self, peer: str, why: str) -> None:
        """Log who is not let in: one of them a minute as a warning, the others for debugging."""
        self._lines.warn("{peer} is not let in: {why}", peer=peer, why=why)


class FirstByte(Protocol):
    """One connection, until it is handed on.

    Args:
        factory: has the rules.
    """

    transport: IStreamTransport

    def __init__(self, factory: FirstByteFactory) -> None:
        self._factory = factory
        self._rules = factory.rules
        self._held = b""
        self._header_awaited = factory.rules.proxy_header
        self._deadline: IDelayedCall | None = None
        self._refused = False
        self._balancer: str | None = None

    @override
    def connectionMade(self) -> None:
        self._balancer = self._peer()
        if self._header_awaited and self._balancer not in self._rules.trusted:
            self._refuse("this listener is for the balancers of [vncproxy] trusted_proxies")
        elif self._factory.pending.enter(self.transport, self):
            self._deadline = self._factory.clock.callLater(self._rules.timeout_s, self._too_late)
        else:
            self.give_way()

    @override
    def dataReceived(self, data: bytes) -> None:
        if self._refused:
            return
        self._held += data
        if self._header_awaited:
            self._read_header()
        if self._held and not self._header_awaited and not self._refused:
            self._look_at_first_byte()

    @override
    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._factory.pending.leave(self.transport)
        self._stop_clock()

    def give_way(self) -> None:
        """Close without a word: it has said nothing."""
        self._refused = True
        self._stop_clock()
        self.transport.abortConnection()

    def close_if_idle(self) -> None:
        """Do nothing: it has yet to become a client."""

    def retire(self) -> None:
        """Close it, if it is of a balancer that is trusted no more; all else will be held to."""
        if self._rules.proxy_header and self._balancer not in self._rules.trusted:
            self.give_way()

    def _peer(self) -> str | None:
        """Return the peer's address; None for a UNIX socket's."""
        return getattr(self.transport.getPeer(), "host", None)

    def _read_header(self) -> None:
        try:
            header = parse_proxy_header(self._held)
        except ProxyHeaderError as error:
            self._refuse(str(error))
            return
        if header is None:
            return
        self._header_awaited = False
        self._held = self._held[header.length :]
        if header.client is not None:
            self._set_peer(*header.client)
        else:
            cast("Any", self.transport).names_no_client = True

    def _set_peer(self, host: str, port: int) -> None:
        """Let the transport tell the client's address instead of the balancer's."""
        address = (IPv6Address if ":" in host else IPv4Address)("TCP", host, port)
        # On the instance, so that whoever asks hears it, and nobody need stand in the bytes' way.
        cast("Any", self.transport).getPeer = lambda: address

    def _look_at_first_byte(self) -> None:
        secure = self._rules.tls is not None and self._held[0] in _TLS_FIRST_BYTES
        if self._rules.refuses_plain and not secure:
            self._refused = True
            self._stop_clock()
            self.transport.write(_NOT_TLS_ANSWER)
            self.transport.loseConnection()
            return
        self._let_in(secure)

    def _let_in(self, secure: bool) -> None:
        self._stop_clock()
        protocol = self._factory.inner(self.transport.getPeer(), secure)
        if protocol is None:
            self.transport.abortConnection()
            return
        cast("Any", self.transport).protocol = protocol
        protocol.makeConnection(self.transport)
        protocol.dataReceived(self._held)

    def _too_late(self) -> None:
        self._deadline = None
        if self._header_awaited:
            self._refuse(f"no whole PROXY header came in {self._rules.timeout_s:g} s")
        else:  # browsers open connections in advance, and may not use them
            self.transport.abortConnection()

    def _refuse(self, why: str) -> None:
        self._factory.warn(self._peer() or "a local socket", why)
        self.give_way()

    def _stop_clock(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


class _Tls(BufferingTLSTransport):
    """Twisted's TLS, which says in the log why a handshake failed."""

    _log = Logger(namespace="vncproxy.edge.tls")

    @override
    def dataReceived(self, data: bytes) -> None:
        while data and not self._aborted:
            # A console's stream is for the splice, which may take the transport in any turn.
            small = isinstance(self.wrappedProtocol, HTTPChannel)
            size = _PIECE_BYTES if small else len(data)
            piece, data = data[:size], data[size:]
            super().dataReceived(piece)

    @override
    def connectionLost(self, reason: Failure = connectionDone) -> None:
        why = openssl_text(self._reason.value) if self._reason is not None else ""
        if why and not self._handshakeDone:
            peer = getattr(self.getPeer(), "host", None) or "a local socket"
            self._log.debug("TLS with {peer} failed: {why}", peer=peer, why=why)
        super().connectionLost(reason)
