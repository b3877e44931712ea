"""The HTTP server's connections: bounded in time, size and number, whatever is served."""

from __future__ import annotations

from twisted.internet.defer import succeed
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from tests.web.harness import Connection, WebHarness, connected_to, hardening_for, request_bytes
from tests.web.test_limits import URL, LimitsTestCase
from vncproxy.console_api.site import ApiSite
from vncproxy.edge.networks import TrustedProxies
from vncproxy.edge.pending import PendingConnections
from vncproxy.metrics.exposition import metrics_root
from vncproxy.web.forwarding import Forwarding
from vncproxy.web.server import HardenedSite
from vncproxy.web.site import ConsoleSite


class _Unfinished(Resource):
    """Begins an answer."""

    isLeaf = True

    def render_GET(self, request: Request) -> int:
        """Write the first byte of it."""
        request.write(b"x")
        return NOT_DONE_YET


class ChannelTests(LimitsTestCase):
    def harness(self) -> WebHarness:
        return WebHarness(most_pending=3)

    def status(self, connection: Connection) -> int:
        return connection.answer()[0]

    def test_a_request_in_drips(self) -> None:
        """A request that comes byte by byte is given up when its time is over, however it flows."""
        connection = self.web.connect()
        for _ in range(29):
            connection.send(b"G")
            self.web.clock.advance(1)
        self.assertEqual(connection.value(), b"")
        self.web.clock.advance(1)
        self.assertEqual(self.status(connection), 408)
        self.assertTrue(connection.disconnecting)
        connection.send(f"ET {URL} HTTP/1.1\r\nHost: g\r\n\r\n".encode())  # too late
        self.web.clock.advance(1)
        self.assertTrue(connection.disconnected)
        self.assertEqual(connection.value().count(b"HTTP/1.1"), 1)

    def test_an_endless_header(self) -> None:
        """A header of any length is cut off at 64 KiB."""
        for piece in (b"X: y\r\n" * 1000, b"x" * 7000):
            connection = self.web.connect()
            connection.send(b"GET / HTTP/1.1\r\n")
            for _ in range(10):
                connection.send(piece)
            self.assertEqual(self.status(connection), 431)
            self.assertEqual(connection.value().count(b"HTTP/1.1"), 1)
            self.assertTrue(connection.half_closed)

    def test_an_endless_body(self) -> None:
        """A body is cut off at 64 KiB, whether its length was told or not."""
        for header in (b"Content-Length: 10000000000", b"Transfer-Encoding: chunked"):
            connection = self.web.connect()
            connection.send(b"POST / HTTP/1.1\r\nHost: g\r\n" + header + b"\r\n\r\n")
            for _ in range(5):
                connection.send(b"4000\r\n" + bytes(0x4000) + b"\r\n")
            self.assertEqual(self.status(connection), 413)
            self.assertTrue(connection.half_closed)  # so that it can read why
            self.assertFalse(connection.disconnecting)
            self.web.clock.advance(1)
            self.assertTrue(connection.disconnected)

    def test_a_refused_body_that_goes_on(self) -> None:
        """Of what still comes a megabyte is thrown away, and no request is found in it."""
        connection = self.web.connect()
        connection.send(b"POST / HTTP/1.1\r\nHost: g\r\nContent-Length: 65537\r\n\r\n")
        self.assertEqual(self.status(connection), 413)
        connection.send(b"x" * 65537 + request_bytes("/console", {"Host": "g"}))
        self.assertEqual(connection.value().count(b"HTTP/1.1"), 1)
        for _ in range(15):
            self.assertFalse(connection.disconnected)
            connection.send(bytes(65536))
        self.assertTrue(connection.disconnected)

    def test_a_body_that_is_whole_and_too_long(self) -> None:
        """It is refused once, and not answered, though its end came with it."""
        connection = self.web.connect()
        connection.send(
            b"POST / HTTP/1.1\r\nHost: g\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"10001\r\n" + bytes(0x10001) + b"\r\n0\r\n\r\n"
        )
        self.assertEqual(self.status(connection), 413)
        self.assertEqual(connection.value().count(b"HTTP/1.1"), 1)

    def test_a_length_without_end(self) -> None:
        """A length of more digits than Python reads is a bad request, and no fault of ours."""
        connection = self.web.connect()
        length = b"9" * 5000
        connection.send(b"POST / HTTP/1.1\r\nContent-Length: " + length + b"\r\nHost: g\r\n\r\n")
        self.assertEqual(self.status(connection), 400)
        self.assertTrue(connection.disconnecting)

    def test_bytes_behind_a_bad_request(self) -> None:
        """Nothing that follows a bad request is answered."""
        connection = self.web.connect()
        connection.send(b"GET /\r\n\r\n" + request_bytes("/console", {"Host": "g"}) * 2)
        self.assertEqual(self.status(connection), 400)
        self.assertEqual(connection.value().count(b"HTTP/1.1"), 1)

    def pause(self, connection: Connection) -> None:
        """Let the send buffer be full, as a peer does that reads nothing."""
        assert connection.producer is not None
        connection.producer.pauseProducing()

    def test_an_answer_that_nobody_takes(self) -> None:
        """Who takes nothing of it for the time of a request is cut off; who takes some is not."""
        self.web.site.resource.putChild(b"slow", _Unfinished())
        connection = self.web.request("/slow")
        for _ in range(3):
            self.pause(connection)
            self.web.clock.advance(29)
            assert connection.producer is not None
            connection.producer.resumeProducing()
            self.web.clock.advance(60)
            self.assertFalse(connection.disconnected)
        self.pause(connection)
        self.web.clock.advance(30)
        self.assertTrue(connection.disconnected)
        self.assertNotIn(b"408", connection.value())

    def test_a_last_answer_that_nobody_takes(self) -> None:
        """Nor does an answer that ends the connection keep it for ever."""
        connection = self.web.request("/console", {"Host": "g", "Connection": "close"})
        self.assertTrue(connection.disconnecting)
        self.web.clock.advance(30)
        self.assertTrue(connection.disconnected)
        self.assertEqual(connection.value().count(b"HTTP/1.1"), 1)

    def test_slow_readers_give_way(self) -> None:
        """Who only takes long to read an answer makes room for others, as who is silent does."""
        self.web.site.resource.putChild(b"slow", _Unfinished())
        readers = [self.web.request("/slow") for _ in range(3)]
        self.assertEqual(self.web.upgrade(URL).answer()[0], 101)
        self.assertEqual([reader.disconnected for reader in readers], [True, False, False])

    def test_a_kept_connection(self) -> None:
        """The next request has its own time, and then the connection is closed."""
        connection = self.web.request("/console")
        for _ in range(3):
            connection.clear()
            self.web.clock.advance(29)
            connection.send(b"GET /console HTTP/1.1\r\nHost: g\r\n\r\n")
            self.assertEqual(self.status(connection), 200)
        connection.clear()
        self.web.clock.advance(30)
        self.assertEqual(self.status(connection), 408)

    def test_many_silent_connections(self) -> None:
        """Of many that say nothing the oldest are closed; who asks gets its console."""
        silent = [self.web.connect() for _ in range(500)]
        self.assertEqual(len(self.web.pending), 3)
        self.assertEqual(sum(connection.value() == b"" for connection in silent), 3)
        self.assertEqual(self.web.upgrade(URL).answer()[0], 101)
        for connection in silent:
            connection.protocol.connectionLost(Failure(ConnectionLost()))
        self.assertEqual(len(self.web.pending), 0)  # the session is none of them
        undisturbed = self.harness()
        undisturbed.store.grants = self.web.store.grants
        undisturbed.upgrade(URL)
        timers = [len(web.clock.getDelayedCalls()) for web in (self.web, undisturbed)]
        self.assertEqual(timers[0], timers[1])

    def test_many_that_wait_for_the_database(self) -> None:
        """Connections whose requests are being decided are kept; new ones are refused."""
        self.web.store.pending = []
        waiting = [self.web.upgrade(URL) for _ in range(3)]
        refused = self.web.connect()
        self.assertEqual(self.status(refused), 503)
        self.assertEqual([connection.value() for connection in waiting], [b""] * 3)


class RetireTests(LimitsTestCase):
    def test_who_is_being_answered(self) -> None:
        """Gets the answer, and then no other on this connection."""
        self.web.store.pending = []
        connection = self.web.request(URL, {"Host": "g", "Accept": "application/json"})
        self.web.pending.retire()
        self.assertFalse(connection.disconnected)
        self.web.store.pending[0].callback(self.web.store.grants[self.token.text])
        self.assertEqual(connection.answer()[0], 200)
        self.assertTrue(connection.disconnecting)

    def test_who_waits(self) -> None:
        """Is closed."""
        connections = [self.web.connect(), self.web.request("/console")]
        self.web.pending.retire()
        self.assertTrue(all(connection.disconnected for connection in connections))


class EverySiteTests(SynchronousTestCase):
    """Consoles, API and metrics have the same server."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.pending = PendingConnections(3, self.clock)
        trusted = Forwarding(TrustedProxies(["192.0.2.1"]))
        hardening = hardening_for(self.clock, self.pending, trusted)
        empty = Resource()
        self.sites = [
            ConsoleSite(empty, empty, empty, hardening, ()),
            ApiSite(_WhoAmI(), hardening),
            HardenedSite(
                metrics_root(lambda: succeed(b"vncproxy_sessions 0\n"), self.clock), hardening
            ),
        ]

    def test_a_request_in_drips(self) -> None:
        """A byte now and then holds no connection beyond its time."""
        for site in self.sites:
            connection = connected_to(site)
            for _ in range(29):
                connection.send(b"G")
                self.clock.advance(1)
            self.assertEqual(connection.value(), b"")
            self.clock.advance(1)
            self.assertEqual(connection.answer()[0], 408)
            connection.protocol.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_silent_connections(self) -> None:
        """Of more than may be the oldest are closed."""
        for site in self.sites:
            silent = [connected_to(site) for _ in range(300)]
            self.assertEqual(sum(connection.value() == b"" for connection in silent), 3)
            for connection in silent:
                connection.protocol.connectionLost(Failure(ConnectionDone()))
            self.assertEqual(len(self.pending), 0)

    def test_a_client_behind_a_balancer(self) -> None:
        """Is known by its address, to the API too."""
        connection = connected_to(self.sites[1])
        connection.send(request_bytes("/", {"Host": "g", "X-Forwarded-For": "198.51.100.7"}))
        self.assertIn(b"198.51.100.7", connection.value())


class _WhoAmI(Resource):
    """Answers with the client's address."""

    isLeaf = True

    def render_GET(self, request: Request) -> bytes:
        return str(getattr(request.getClientAddress(), "host", "unix")).encode()
