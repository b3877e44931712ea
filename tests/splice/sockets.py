"""Legs on real sockets, without a reactor: the tests say when which socket is served."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IReactorFDSet
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.tcp import Connection
from twisted.python.failure import Failure
from zope.interface import implementer

from tests.helpers import TurnClock
from vncproxy.interfaces import Throttled
from vncproxy.model import Ending


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

    def __init__(self, reactor: FdReactor, has_frames: bool) -> None:
        ours, self.peer = socket.socketpair()
        self.peer.setblocking(False)
        connection = Connection(ours, self, reactor)
        connection.connected = 1
        connection.startReading()
        self.makeConnection(connection)
        self.frames = self if has_frames else None
        self.fed: list[bytes] = []
        self.between_frames = True
        self.is_deaf = False
        self.life_signs = 0
        self.reason: Failure | None = None
        self.source: Throttled | None = None

    @property
    def real(self) -> Connection:
        """The Twisted transport, whatever stands in for it."""
        found = self.transport
        return found if isinstance(found, Connection) else found._transport

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
            except BlockingIOError:
                return data
            if not piece:
                return data
            data += piece

    def fill(self) -> int:
        """Write into our socket until it takes no more; return how much that was."""
        filled = 0
        while True:
            try:
                filled += self.real.socket.send(bytes(1 << 16))
            except BlockingIOError:
                return filled
