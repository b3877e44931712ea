"""The first byte: who is let in, as whom, and that it stands in nobody's way afterwards."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import cast

from twisted.internet.address import IPv4Address, UNIXAddress
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Protocol
from twisted.internet.testing import EventLoggingObserver
from twisted.logger import globalLogPublisher
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase
from twisted.web.resource import Resource
from twisted.web.server import Request

from tests.e2e.certificates import write_certificate
from tests.edge.test_proxy_header import BAD, GOOD, version_2
from tests.helpers import every_split
from tests.web.harness import Connection, WebHarness
from vncproxy.edge.certificates import TlsOptions
from vncproxy.edge.first_byte import FirstByte, FirstByteFactory, FirstByteRules
from vncproxy.edge.networks import TrustedProxies
from vncproxy.edge.tls import TlsServer

REQUEST = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
BALANCER = IPv4Address("TCP", "10.0.0.1", 1234)
STRANGER = IPv4Address("TCP", "198.51.100.1", 1234)


class _WhoAmI(Resource):
    """Answers with the client's address."""

    isLeaf = True

    def render_GET(self, request: Request) -> bytes:
        return str(getattr(request.getClientAddress(), "host", "unix")).encode()


class FirstByteTestCase(TestCase):
    def setUp(self) -> None:
        web = WebHarness()
        self.clock, self.site, self.pending = web.clock, web.site, web.pending
        self.site.resource.putChild(b"", _WhoAmI())
        self.log = EventLoggingObserver.createWithCleanup(self, globalLogPublisher)
        self.tls: TlsServer | None = None

    def serve_tls(self) -> None:
        cert = Path(self.mktemp())
        write_certificate(cert)
        now = datetime.datetime.now(datetime.UTC)
        self.tls = TlsServer(TlsOptions(str(cert)), lambda: now)

    def connect(
        self,
        peer: IPv4Address | UNIXAddress = BALANCER,
        proxy_header: bool = False,
        tls_only: bool = False,
        trusted: tuple[str, ...] = ("10.0.0.0/24",),
    ) -> Connection:
        rules = FirstByteRules(TrustedProxies(trusted), proxy_header, self.tls, tls_only, 10.0)
        connection = Connection(peerAddress=peer)
        self.factory = FirstByteFactory(rules, self.site, self.pending, self.clock)
        first_byte = self.factory.buildProtocol(peer)
        connection.protocol = cast(Protocol, first_byte)
        first_byte.makeConnection(connection)
        return connection

    def warnings(self) -> list[str]:
        return [event["why"] for event in self.log if event["log_level"].name == "warn"]


class ProxyHeaderTests(FirstByteTestCase):
    def test_the_client_behind_a_balancer(self) -> None:
        """In every split of header and request the site sees the client, and every byte."""
        for wire, client in GOOD.items():
            for pieces in every_split(wire + REQUEST):
                connection = self.connect(proxy_header=True)
                for piece in pieces:
                    connection.send(piece)
                host = client[0] if client else BALANCER.host
                self.assertEqual(connection.answer()[::2], (200, host.encode()))
        self.assertEqual(self.warnings(), [])

    def test_it_leaves(self) -> None:
        """Behind the header the bytes go straight to the site's protocol."""
        connection = self.connect(proxy_header=True)
        self.assertIsInstance(connection.protocol, FirstByte)
        connection.send(version_2("192.0.2.7", 50000) + REQUEST[:10])
        self.assertNotIsInstance(connection.protocol, FirstByte)
        self.assertEqual(connection.getPeer(), IPv4Address("TCP", "192.0.2.7", 50000))

    def test_a_stranger(self) -> None:
        """Who is no balancer is sent away before it says anything, and can't forge an address."""
        connection = self.connect(STRANGER, proxy_header=True)
        self.assertTrue(connection.disconnected)
        connection.send(version_2("192.0.2.7", 50000) + REQUEST)
        self.assertEqual(connection.value(), b"")
        self.assertEqual(
            self.warnings(), ["this listener is for the balancers of [vncproxy] trusted_proxies"]
        )

    def test_a_listener_without_the_protocol(self) -> None:
        """A header where none is expected is a broken request, of a balancer's too."""
        self.serve_tls()
        for peer in (BALANCER, STRANGER):
            connection = self.connect(peer)
            connection.send(b"PROXY TCP4 192.0.2.7 192.0.2.8 50000 6080\r\n" + REQUEST)
            self.assertIn(b"400 Bad Request", connection.value())

    def test_a_unix_socket(self) -> None:
        """Its peer is a balancer if the word unix says so."""
        connection = self.connect(UNIXAddress(None), proxy_header=True, trusted=("unix",))
        connection.send(version_2("192.0.2.7", 50000) + REQUEST)
        self.assertEqual(connection.answer()[::2], (200, b"192.0.2.7"))
        self.assertTrue(self.connect(UNIXAddress(None), proxy_header=True).disconnected)

    def test_broken_headers(self) -> None:
        """Each ends the connection; the log says so once a minute."""
        for wire in BAD:
            connection = self.connect(proxy_header=True)
            connection.send(wire)
            self.assertTrue(connection.disconnected, wire)
            self.assertEqual(connection.value(), b"")
        factory = self.factory
        before = len(self.warnings())
        factory.warn("10.0.0.1", "again")
        self.assertEqual(len(self.warnings()), before)
        self.clock.advance(60)
        factory.warn("10.0.0.1", "again")
        self.assertEqual(len(self.warnings()), before + 1)

    def test_the_deadline(self) -> None:
        """A header that is not whole in time ends the connection; drips don't make it later."""
        connection = self.connect(proxy_header=True)
        for byte in range(9):
            self.clock.advance(1.1)
            connection.send(version_2("192.0.2.7", 1)[byte : byte + 1])
        self.assertFalse(connection.disconnected)
        self.clock.advance(0.2)
        self.assertTrue(connection.disconnected)
        self.assertEqual(self.warnings(), ["no whole PROXY header came in 10 s"])

    def test_nothing_is_left_waiting(self) -> None:
        """A peer that goes, or is let in, leaves no timer behind."""
        connection = self.connect(proxy_header=True)
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        connection.protocol.connectionLost()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_site_that_takes_no_more(self) -> None:
        """A connection that the site does not want is dropped."""
        self.patch(self.site, "buildProtocol", lambda _address: None)
        connection = self.connect(proxy_header=True)
        connection.send(version_2("192.0.2.7", 50000) + REQUEST)
        self.assertTrue(connection.disconnected)


class FirstByteTests(FirstByteTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.serve_tls()

    def test_plain(self) -> None:
        """HTTP is served on the port that speaks TLS."""
        connection = self.connect()
        connection.send(REQUEST)
        self.assertEqual(connection.answer()[0], 200)

    def test_tls(self) -> None:
        """A first byte of 22 begins TLS, behind a PROXY header too."""
        for header in (b"", version_2("192.0.2.7", 50000)):
            connection = self.connect(proxy_header=bool(header))
            connection.send(header + b"\x16")
            self.assertIsInstance(connection.protocol, TLSMemoryBIOProtocol)

    def test_a_handshake_that_is_not_finished(self) -> None:
        """It ends in the time of a request, however often a byte comes."""
        connection = self.connect()
        connection.send(b"\x16\x03\x01\x02\x00")
        for _ in range(29):
            self.clock.advance(1)
            connection.send(b"\x01")
        self.assertFalse(connection.disconnected)
        for _ in range(2):  # its time is over; it may still read why
            self.clock.advance(1)
        self.assertTrue(connection.disconnected)

    def test_plain_is_refused(self) -> None:
        """With ssl_only a plain request gets one sentence, and no page."""
        connection = self.connect(tls_only=True)
        connection.send(REQUEST)
        connection.send(REQUEST)
        status, _, body = connection.answer()
        self.assertEqual(
            (status, body), (400, b"This port speaks TLS only. Use https:// in the address.\n")
        )
        self.assertTrue(connection.disconnecting)

    def test_nothing(self) -> None:
        """A browser's connection in advance is ended in time, without a word in the log."""
        connection = self.connect()
        self.clock.advance(10)
        self.assertTrue(connection.disconnected)
        self.assertEqual(self.warnings(), [])


class PendingTests(FirstByteTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.serve_tls()
        web = WebHarness(most_pending=3)
        self.clock, self.site, self.pending = web.clock, web.site, web.pending

    def test_silent_connections(self) -> None:
        """They count from their accept on; of more than may be the oldest are closed."""
        silent = [self.connect() for _ in range(300)]
        self.assertEqual((len(self.pending), self.pending.turned_away), (3, 297))
        self.assertEqual(sum(not connection.disconnected for connection in silent), 3)
        for connection in silent:
            connection.protocol.connectionLost()
        self.assertEqual(len(self.pending), 0)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_each_protocol_counts_once(self) -> None:
        """Header, first byte, TLS and request are one connection, which keeps its age."""
        oldest = self.connect(proxy_header=True)
        self.connect()
        for data in (version_2("192.0.2.7", 50000), b"\x16", b"\x03\x01"):
            oldest.send(data)
            self.assertEqual(len(self.pending), 2)
        self.assertIsInstance(oldest.protocol, TLSMemoryBIOProtocol)
        self.connect()
        self.assertFalse(oldest.disconnected)
        self.connect()
        self.assertTrue(oldest.disconnected)  # at once: TLS would end with the peer's help only
        self.assertEqual(len(self.pending), 3)

    def test_plain_http(self) -> None:
        """A client that becomes HTTP's is counted once, and forgotten when it goes."""
        connection = self.connect()
        connection.send(REQUEST)
        self.assertEqual(len(self.pending), 1)
        connection.protocol.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(len(self.pending), 0)

    def test_no_room(self) -> None:
        """Where all wait for their answers a new connection is closed at once."""
        web = WebHarness(most_pending=1)
        web.store.pending = []
        web.upgrade("/?token=a")
        self.site, self.pending = web.site, web.pending
        self.assertTrue(self.connect().disconnected)
        self.assertEqual(len(self.pending), 1)

    def test_a_stranger_pushes_nobody_out(self) -> None:
        """Who is no balancer is not counted."""
        self.connect(STRANGER, proxy_header=True)
        self.assertEqual(len(self.pending), 0)
