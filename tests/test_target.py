"""Dialling a console's server: what each way of failing means, and the leg that comes of it."""

from __future__ import annotations

import contextlib

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
from twisted.internet.tcp import Connection
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tests.helpers import MemoryLeg, grant_for
from tests.splice.sockets import FdReactor, tcp_pair
from vncproxy.errors import (
    TargetForbidden,
    TargetRefused,
    TargetTimeout,
    TargetUnreachable,
    TargetUnresolved,
)
from vncproxy.model import Ending, Grant, Token
from vncproxy.resolver import Resolver
from vncproxy.splice.last_words import HeardOut
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
        super().__init__(clock, 10.0, tls, TargetsFile(None), Resolver(clock))  # type: ignore[arg-type]
        self.endpoint = _Endpoint()

    async def _endpoint(self, grant: Grant) -> IStreamClientEndpoint:
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


class Names(Resolver):
    """Answers for each host in turn when the test says so.

    Attributes:
        asked: the hosts, and what each one's look-up waits for.
    """

    def __init__(self, clock: MemoryReactorClock) -> None:
        super().__init__(clock)  # type: ignore[arg-type]
        self.asked: list[tuple[str, Deferred[tuple[str, ...]]]] = []

    def resolve(self, host: str, timeout_s: float) -> Deferred[tuple[str, ...]]:
        """Keep the question."""
        self.asked.append((host, Deferred()))
        return self.asked[-1][1]


class AddressesTests(SynchronousTestCase):
    """Which addresses are dialled, and which are not."""

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.names = Names(self.reactor)
        tls = TargetTls(TlsFiles(None, None, None), "off")
        self.dialer = Dialer(self.reactor, 10.0, tls, TargetsFile(None), self.names)

    def dial(self, *addresses: str, looked_up_s: float = 4) -> Deferred[Reached]:
        """Dial a name, which is looked up in four seconds."""
        grant = grant_for(Token("t"), host="vm.example")
        dialing = Deferred.fromCoroutine(self.dialer.dial(grant))
        self.reactor.advance(looked_up_s)
        host, answer = self.names.asked.pop()
        self.assertEqual((host, self.dialled()), ("vm.example", []))
        answer.callback(addresses)
        return dialing

    def dialled(self) -> list[tuple[str, int]]:
        return [client[:2] for client in self.reactor.tcpClients]

    def test_a_name_of_a_forbidden_address(self) -> None:
        """A name that leads to the metadata service is refused, and never dialled."""
        error = self.failureResultOf(self.dial("169.254.169.254", "fe80::1"), TargetForbidden).value
        self.assertIn("vm.example is at 169.254.169.254, fe80::1", str(error))
        self.assertEqual(self.dialled(), [])

    def test_the_checked_address_is_dialled(self) -> None:
        """A name server that changes its answer gains nothing: the name is looked up once."""
        self.dial("169.254.169.254", "192.0.2.7")
        self.assertEqual((self.dialled(), self.names.asked), ([("192.0.2.7", 5900)], []))

    def test_several_addresses(self) -> None:
        """They are tried in their order, the next one beside those that have not answered yet."""
        self.dial("2001:db8::7", "fe80::7", "192.0.2.7")
        self.assertEqual(self.dialled(), [("2001:db8::7", 5900)])
        self.reactor.advance(0.5)
        self.assertEqual(self.dialled(), [("2001:db8::7", 5900), ("192.0.2.7", 5900)])

    def test_a_server_that_is_silent(self) -> None:
        """The look-up's time counts, and is named where it was long."""
        for addresses in ("192.0.2.7",), ("192.0.2.7", "192.0.2.8"):
            dialing = self.dial(*addresses)
            self.reactor.advance(5.9)
            self.assertNoResult(dialing)
            self.reactor.advance(0.2)
            error = self.failureResultOf(dialing, TargetTimeout).value
            self.assertIn("did not answer in 10 s, 4.0 of them for its name", str(error))
            self.assertEqual(self.reactor.getDelayedCalls(), [])
            self.reactor.tcpClients.clear()

    def test_no_time_left(self) -> None:
        """A look-up that took all of it leaves none for the connection."""
        dialing = self.dial("192.0.2.7", looked_up_s=10.1)
        self.reactor.advance(0)
        self.failureResultOf(dialing, TargetTimeout)

    def test_given_up(self) -> None:
        """A dial that is cancelled leaves no attempt behind."""
        for addresses in ("192.0.2.7",), ("192.0.2.7", "192.0.2.8"):
            dialing = self.dial(*addresses)
            dialing.cancel()
            self.failureResultOf(dialing, CancelledError)
            self.assertEqual(self.reactor.getDelayedCalls(), [])
            self.reactor.tcpClients.clear()

    def test_a_look_up_that_fails(self) -> None:
        """The dial fails with it."""
        for error in TargetUnresolved("late"), TargetUnreachable("none"), CancelledError():
            dialing = Deferred.fromCoroutine(self.dialer.dial(grant_for(Token("t"), host="vm")))
            self.names.asked.pop()[1].errback(error)
            self.assertEqual(self.failureResultOf(dialing).value, error)


class LiteralTargetTests(SynchronousTestCase):
    """Targets that are addresses already are dialled at once, in no thread."""

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()

    def dial(self, **changes: object) -> Deferred[Reached]:
        tls = TargetTls(TlsFiles(None, None, None), "off")
        resolver = Resolver(self.reactor)  # type: ignore[arg-type]
        dialer = Dialer(self.reactor, 10.0, tls, TargetsFile(None), resolver)
        return Deferred.fromCoroutine(dialer.dial(grant_for(Token("t"), **changes)))

    def test_nothing_is_dialled(self) -> None:
        """Whatever the grant asks for: a console, a CONNECT to one first, or a UNIX socket."""
        for changes in (
            {"host": "64:ff9b::a9fe:a9fe"},
            {"host": "0xa9fea9fe", "internal_access_path": "5f1c"},
            {"host": "/run/docker.sock", "port": 0},
            {"host": "/run/docker.sock", "port": 0, "internal_access_path": "5f1c"},
        ):
            self.failureResultOf(self.dial(**changes), TargetForbidden)
        self.assertEqual((self.reactor.tcpClients, self.reactor.unixClients), ([], []))

    def test_numbers_that_are_addresses(self) -> None:
        """Whatever the resolver makes an address of is checked as that address, and dialled as it.

        It may be a number, octal, hexadecimal, or shorter than four parts.
        """
        for host, address in (
            *(("0xa9fea9fe", "169.254.169.254"), ("2852039166", "169.254.169.254")),
            *(("0251.0376.0251.0376", "169.254.169.254"), ("169.254.43518", "169.254.169.254")),
            *(("0xa9.0xfe.0xa9.0xfe", "169.254.169.254"), ("0", "0.0.0.0")),
            *(("64:ff9b::169.254.169.254", "64:ff9b::a9fe:a9fe"), ("fe80::1%lo", "fe80::1")),
            ("0:0:0:0:0:FFFF:A9FE:A9FE", "::ffff:169.254.169.254"),
        ):
            error = self.failureResultOf(self.dial(host=host), TargetForbidden).value
            self.assertIn(f"{host} is at {address}, where no console may be", str(error))
            self.assertEqual(self.reactor.tcpClients, [], host)
        for host, address in (
            *(("0x7f000001", "127.0.0.1"), ("2130706433", "127.0.0.1"), ("127.1", "127.0.0.1")),
            ("0:0::1", "::1"),
        ):
            self.dial(host=host)
            self.assertEqual(self.reactor.tcpClients.pop()[:2], (address, 5900))


class HalfCloseable(StringTransport):
    """A transport that can say that nothing more will be written."""

    said_the_end = False

    def loseWriteConnection(self) -> None:
        """Say it."""
        self.said_the_end = True


class TargetProtocolTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.transport = HalfCloseable()
        self.leg = TargetProtocol(Clock())
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


class OnASocketTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = FdReactor()
        ours, self.peer = tcp_pair()
        self.peer.setblocking(False)
        self.addCleanup(self.peer.close)
        self.leg = TargetProtocol(self.clock)
        self.endings: list[Ending] = []
        self.leg.lost = lambda ending, _detail: self.endings.append(ending)
        self.leg.received = lambda _data: None
        self.connection = Connection(ours, self.leg, self.clock)
        self.connection.connected = 1
        self.connection.startReading()
        self.leg.makeConnection(self.connection)

    def test_it_is_heard_out(self) -> None:
        """From its first byte on, in CONNECT and every handshake too."""
        self.assertIsInstance(self.connection, HeardOut)

    def test_a_machine_that_sends_for_ever(self) -> None:
        """It is closed once there is nothing to deliver; meanwhile little of it is read."""
        self.leg.write(b"paste")
        self.leg.close(Ending.CLIENT_CLOSED, "")
        self.connection.doWrite()
        reads = 0
        while not self.endings:
            with contextlib.suppress(BlockingIOError):
                self.peer.send(bytes(1 << 20))
            if self.connection in self.clock.readers:
                self.connection.doRead()
                reads += 1
            self.clock.advance(0.05)
        self.assertEqual(self.peer.recv(100), b"paste")
        self.assertLess(self.clock.seconds(), 2)
        self.assertLessEqual(reads, 30)
        self.assertEqual(self.clock.getDelayedCalls(), [])
