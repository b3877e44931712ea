"""Dialling a console's server: what each way of failing means, and the leg that comes of it."""

from __future__ import annotations

import socket

from twisted.internet._resolver import GAIResolver
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import (
    ConnectionDone,
    ConnectionLost,
    ConnectionRefusedError,
    DNSLookupError,
    NoRouteError,
)
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tests.helpers import InlineThreadPool, MemoryLeg, ThreadClock, grant_for
from vncproxy.errors import TargetForbidden, TargetRefused, TargetTimeout, TargetUnreachable
from vncproxy.model import Ending, Grant, Token
from vncproxy.target import Dialer, Reached, TargetProtocol
from vncproxy.target_tls import TargetTls, TlsFiles
from vncproxy.targets_file import TargetsFile


class _Endpoint:
    """Connects when the test says so."""

    def __init__(self) -> None:
        self.connecting: Deferred[TargetProtocol] = Deferred()

    def connect(self, _factory: object) -> Deferred[TargetProtocol]:
        return self.connecting


class _Dialer(Dialer):
    def __init__(self, clock: IReactorTime) -> None:
        tls = TargetTls(TlsFiles(None, None, None), "off")
        super().__init__(clock, 10.0, tls, TargetsFile(None))
        self.endpoint = _Endpoint()

    def _endpoint(self, grant: Grant) -> IStreamClientEndpoint:
        return self.endpoint  # type: ignore[return-value]


class DialerTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.dialer = _Dialer(self.clock)

    def dial(self) -> Deferred[Reached]:
        return Deferred.fromCoroutine(self.dialer.dial(grant_for(Token("t"))))

    def test_failures(self) -> None:
        """Each is an error of ours that names the target."""
        for failure, error in (
            (ConnectionRefusedError(), TargetRefused),
            (DNSLookupError(), TargetUnreachable),
            (NoRouteError(), TargetUnreachable),
            (FileNotFoundError(), TargetUnreachable),
        ):
            self.dialer.endpoint = _Endpoint()
            dialing = self.dial()
            self.dialer.endpoint.connecting.errback(failure)
            found = self.failureResultOf(dialing, error).value
            self.assertIn("192.0.2.7:5900", str(found))
            self.assertNotIn("192.0.2.7", found.words)

    def test_no_answer(self) -> None:
        """The time-out counts to the second, and gives the attempt up."""
        dialing = self.dial()
        self.clock.advance(9.9)
        self.assertNoResult(dialing)
        self.clock.advance(0.2)
        self.failureResultOf(dialing, TargetTimeout)

    def test_given_up(self) -> None:
        """A dial that is cancelled ends as such."""
        dialing = self.dial()
        dialing.cancel()
        self.failureResultOf(dialing, CancelledError)
        self.assertEqual(self.clock.getDelayedCalls(), [])


class ForbiddenTargetTests(SynchronousTestCase):
    def test_nothing_is_dialled(self) -> None:
        """Whatever the grant asks for: a console, a CONNECT to one first, or a UNIX socket."""
        reactor = MemoryReactorClock()
        threads = InlineThreadPool()
        reactor.nameResolver = GAIResolver(ThreadClock(), lambda: threads, socket.getaddrinfo)  # type: ignore[arg-type]
        tls = TargetTls(TlsFiles(None, None, None), "off")
        dialer = Dialer(reactor, 10.0, tls, TargetsFile(None))
        for changes in (
            {"host": "64:ff9b::a9fe:a9fe"},
            {"host": "0xa9fea9fe", "internal_access_path": "5f1c"},
            {"host": "/run/docker.sock", "port": 0},
            {"host": "/run/docker.sock", "port": 0, "internal_access_path": "5f1c"},
        ):
            dialing = Deferred.fromCoroutine(dialer.dial(grant_for(Token("t"), **changes)))
            self.failureResultOf(dialing, TargetForbidden)
        self.assertEqual((reactor.tcpClients, reactor.unixClients), ([], []))


class HalfCloseable(StringTransport):
    """A transport that can say that nothing more will be written."""

    said_the_end = False

    def loseWriteConnection(self) -> None:
        """Say it."""
        self.said_the_end = True


class TargetProtocolTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.transport = HalfCloseable()
        self.leg = TargetProtocol()
        self.received: list[bytes] = []
        self.ends: list[tuple[Ending, str]] = []
        self.leg.received = self.received.append
        self.leg.lost = lambda ending, detail: self.ends.append((ending, detail))
        self.leg.makeConnection(self.transport)

    def test_bytes(self) -> None:
        """Both ways."""
        self.leg.dataReceived(b"picture")
        self.leg.write(b"key")
        self.assertEqual((self.received, self.transport.value()), ([b"picture"], b"key"))

    def test_ends(self) -> None:
        """An orderly end and a broken connection are told apart."""
        self.leg.connectionLost(Failure(ConnectionDone()))
        self.leg.connectionLost(Failure(ConnectionLost("reset")))
        self.assertEqual(
            [ending for ending, _ in self.ends],
            [
                Ending.SERVER_CLOSED,
                Ending.SERVER_LOST,
            ],
        )
        self.assertIn("reset", self.ends[1][1])

    def test_throttle(self) -> None:
        """The transport pauses and resumes the source, and is let go of before the close."""
        source = MemoryLeg()
        self.leg.throttle_by(source)
        assert self.transport.producer is not None
        self.transport.producer.pauseProducing()
        self.assertTrue(source.paused)
        self.leg.pause()
        self.leg.close(Ending.CLIENT_CLOSED, "")
        self.assertIsNone(self.transport.producer)
        self.assertTrue(self.transport.said_the_end)
        self.assertEqual(self.transport.producerState, "producing")
