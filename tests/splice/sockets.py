"""Legs on real sockets, without a reactor: the tests say when which socket is served."""

from __future__ import annotations

import contextlib
import fcntl
import socket
import ssl
import struct
import termios
import threading
import time
from collections.abc import Callable
from functools import cache
from typing import Any

from OpenSSL.crypto import X509, PKey
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IReactorFDSet
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.ssl import CertificateOptions
from twisted.internet.tcp import Connection
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from zope.interface import implementer

from tests.e2e import certificates
from tests.helpers import TurnClock
from vncproxy.interfaces import Throttled
from vncproxy.model import Ending
from vncproxy.splice.last_words import HeardOut, connection_of, hear_out
from vncproxy.splice.producer import Producer

_PATIENCE_S = 20


@implementer(IReactorFDSet)
class FdReactor(TurnClock):
    """Knows what is watched, and watches nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.readers: set[object] = set()
        self.writers: set[object] = set()

    def addReader(self, reader: object) -> None:
        self.readers.add(reader)

    def removeReader(self, reader: object) -> None:
        self.readers.discard(reader)

    def addWriter(self, writer: object) -> None:
        self.writers.add(writer)

    def removeWriter(self, writer: object) -> None:
        self.writers.discard(writer)

    def removeAll(self) -> list[Any]:
        return []

    def getReaders(self) -> list[Any]:
        return list(self.readers)

    def getWriters(self) -> list[Any]:
        return list(self.writers)


class SocketLeg(Protocol):
    """A leg whose transport is one end of a pair of sockets; ``peer`` is the other.

    Attributes:
        fed: what the splice gave to the owner of the frames.
        reason: how Twisted said that the connection ended.
        is_deaf: whether the owner was told that nothing is read.
    """

    received: Callable[[bytes], None]
    lost: Callable[[Ending, str], None]
    transport: Any
    longest_frame = 1 << 16

    def __init__(
        self,
        reactor: Any,  # noqa: ANN401  an FdReactor, or one of Twisted's
        has_frames: bool,
        pair: tuple[socket.socket, socket.socket] | None = None,
    ) -> None:
        ours, self.peer = pair or socket.socketpair()
        self.peer.setblocking(False)
        connection = Connection(ours, self, reactor)
        connection.connected = 1
        connection.startReading()
        hear_out(connection)
        self.connect(connection)
        self.frames = self if has_frames else None
        self.fed: list[bytes] = []
        self.between_frames = True
        self.is_deaf = False
        self.life_signs = 0
        self.reason: Failure | None = None
        self.source: Throttled | None = None

    def connect(self, connection: Connection) -> None:
        """Be what is on the connection."""
        self.makeConnection(connection)

    @property
    def real(self) -> HeardOut:
        """The socket's transport, whatever stands in for it or is above it."""
        found = connection_of(getattr(self.transport, "_transport", self.transport))
        assert isinstance(found, HeardOut)
        return found

    def dataReceived(self, data: bytes) -> None:
        self.received(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.reason = reason
        closed = reason.check(ConnectionDone)
        self.lost(Ending.SERVER_CLOSED if closed else Ending.SERVER_LOST, "")

    def write(self, data: bytes) -> None:
        self.transport.write(data)

    def close(self, ending: Ending, words: str) -> None:
        self.transport.loseConnection()

    def abort(self) -> None:
        self.transport.abortConnection()

    def pause(self) -> None:
        self.transport.pauseProducing()

    def resume(self) -> None:
        self.transport.resumeProducing()

    def throttle_by(self, source: Throttled | None) -> None:
        self.source = source
        if source is not None:
            self.transport.registerProducer(Producer(source), True)

    def feed(self, data: bytes) -> None:
        self.fed.append(data)

    def reroute(self, transport: object) -> None:
        self.transport = transport

    def heard(self) -> None:
        self.life_signs += 1

    def deaf(self, deaf: bool) -> None:
        self.is_deaf = deaf

    def peer_reads(self) -> bytes:
        """Return everything that has arrived at the peer."""
        data = b""
        while True:
            try:
                piece = self.peer.recv(1 << 20)
            except (BlockingIOError, ssl.SSLWantReadError):
                return data
            if not piece:
                return data
            data += piece

    def peer_sends_last(self, data: bytes) -> None:
        """Send bytes, and return when they have come to our kernel, where no reset undoes them."""
        self.peer.setblocking(True)
        self.peer.sendall(data)
        deadline = time.monotonic() + _PATIENCE_S
        while self.peer.family == socket.AF_INET and _count(self.peer, termios.TIOCOUTQ):
            assert time.monotonic() < deadline, "our kernel does not take it all"
        self.peer.setblocking(False)

    def peer_finishes(self) -> None:
        """Let the peer say in order that this was all."""
        self.peer.shutdown(socket.SHUT_WR)

    def peer_resets(self) -> None:
        """Let the peer be gone without a word."""
        self.peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.peer.close()

    def fill(self) -> int:
        """Write into our socket until it takes no more; return how much that was."""
        filled = 0
        while True:
            try:
                filled += self.real.socket.send(bytes(1 << 16))
            except BlockingIOError:
                return filled


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    """Return both ends of a TCP connection, ours first: we hold much, and the peer little."""
    peer = socket.socket()
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 16)
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        peer.connect(listener.getsockname())
        ours, _ = listener.accept()
    ours.setblocking(False)
    return ours, peer


def _count(connected: socket.socket, queue: int) -> int:
    """Return how many bytes are in this queue of the kernel's."""
    return int.from_bytes(fcntl.ioctl(connected, queue, bytes(4)), "little")


class SecureLeg(SocketLeg):
    """A leg on TLS, whose peer is an ``ssl.SSLSocket``."""

    def connect(self, connection: Connection) -> None:
        reactor: Any = connection.reactor
        factory = TLSMemoryBIOFactory(_server_options(), False, Factory(), reactor)
        connection.protocol = factory.protocol(factory, self)
        connection.protocol.makeConnection(connection)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        self.peer.setblocking(True)
        self.peer = context.wrap_socket(self.peer, do_handshake_on_connect=False)
        handshake = threading.Thread(target=self.peer.do_handshake)
        handshake.start()
        while handshake.is_alive():
            reactor.iterate(0.001)
        self.peer.setblocking(False)

    def peer_finishes(self) -> None:
        with contextlib.suppress(OSError):
            self.peer.unwrap()  # type: ignore[attr-defined]
        super().peer_finishes()


@cache
def _server_options() -> CertificateOptions:
    issued = certificates.issue("tests")
    return CertificateOptions(
        PKey.from_cryptography_key(issued.key), X509.from_cryptography(issued.certificate)
    )
