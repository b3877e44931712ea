"""Accepting from a socket that other processes accept from too."""

from __future__ import annotations

import os
import resource
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from twisted.internet.interfaces import IListeningPort, IProtocolFactory
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock
from twisted.internet.testing import EventLoggingObserver
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from vncproxy.edge.shared_port import SharedPort


class _Reactor(Clock):
    """Keeps who reads, and what is adopted."""

    def __init__(self) -> None:
        super().__init__()
        self.readers: set[object] = set()
        self.adopted = 0
        self.fault: Exception | None = None

    def addReader(self, reader: object) -> None:
        self.readers.add(reader)

    def removeReader(self, reader: object) -> None:
        self.readers.discard(reader)

    def removeWriter(self, writer: object) -> None:
        """Nobody writes."""

    def adoptStreamConnection(
        self, descriptor: int, family: socket.AddressFamily, factory: IProtocolFactory
    ) -> None:
        assert family == socket.AF_INET
        self.adopted += 1
        if self.fault is not None:
            raise self.fault


@contextmanager
def no_descriptors_left() -> Iterator[None]:
    """Let this process open no more files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.dup(0)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class SharedPortTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.log = EventLoggingObserver.createWithCleanup(self, globalLogPublisher)  # type: ignore[arg-type]
        self.reactor = _Reactor()
        self.is_ahead = False
        listener = socket.create_server(("127.0.0.1", 0))
        listener.setblocking(False)
        self.address = listener.getsockname()
        factory = Factory()
        factory.noisy = False
        self.port = SharedPort(self.reactor, listener.detach(), factory, lambda: self.is_ahead)
        self.port.startListening()
        self.addCleanup(self.port.stopListening)

    def connect(self, count: int) -> None:
        for _ in range(count):
            client = socket.create_connection(self.address)
            self.addCleanup(client.close)

    def test_interface(self) -> None:
        """It is what endpoints return."""
        verifyObject(IListeningPort, self.port)
        self.assertEqual(self.port.getHost().port, self.address[1])  # type: ignore[union-attr]

    def test_one_at_a_time(self) -> None:
        """A wake-up takes one connection, and one that comes too late takes none."""
        self.connect(2)
        for adopted in (1, 2, 2):
            self.port.doRead()
            self.assertEqual(self.reactor.adopted, adopted)

    def test_a_head_start(self) -> None:
        """A worker that is ahead takes, a moment later, what the others have left."""
        self.connect(3)
        self.is_ahead = True
        self.port.doRead()
        self.assertEqual((self.reactor.adopted, self.reactor.readers), (0, set()))
        self.reactor.advance(0.005)
        self.assertEqual((self.reactor.adopted, self.reactor.readers), (3, {self.port}))

    def test_stopped_during_the_head_start(self) -> None:
        """A port that was closed meanwhile accepts nothing."""
        self.connect(1)
        self.is_ahead = True
        self.port.doRead()
        self.port.stopListening()
        self.reactor.advance(1)
        self.assertEqual((self.reactor.adopted, self.reactor.readers), (0, set()))

    def test_a_socket_that_is_shut_down(self) -> None:
        """Its parent has stopped, and readable it stays for ever: nobody turns in circles there."""
        with socket.socket(fileno=os.dup(self.port.fileno())) as parents:
            parents.shutdown(socket.SHUT_RDWR)
        self.assertIn(self.port, self.reactor.readers)
        self.port.doRead()
        self.assertNotIn(self.port, self.reactor.readers)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_no_descriptors_left(self) -> None:
        """It says so, leaves the connection to the others, and tries again in a second."""
        self.connect(1)
        with no_descriptors_left():
            self.port.doRead()
        self.assertEqual((self.reactor.adopted, self.reactor.readers), (0, set()))
        self.assertEqual([event.get("reason") for event in self.log], ["Too many open files"])
        self.reactor.advance(1)
        self.assertEqual(self.reactor.readers, {self.port})
        self.port.doRead()
        self.assertEqual(self.reactor.adopted, 1)

    def test_a_connection_that_can_not_be_served(self) -> None:
        """The port goes on: silently if the client has gone, loudly if we are at fault."""
        self.connect(2)
        self.reactor.fault = OSError("gone")
        self.port.doRead()
        self.assertEqual(len(self.log), 0)
        self.reactor.fault = ZeroDivisionError()
        self.port.doRead()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(self.reactor.readers, {self.port})
