"""Connections that ask for nothing, on every kind of listener: bounded from their accept on."""

from __future__ import annotations

import atexit
import socket
import time
from functools import cache

from twisted.trial.unittest import SynchronousTestCase

from tests.e2e.every_listener import EveryListener, Place, idle
from tests.e2e.programs import becomes_true

_BOUND = 20
_CROWD = 300
_MARGIN = 5  # a visit, a scrape, and what is being closed


@cache
def bounded() -> EveryListener:
    """Return a gateway with a small bound and long deadlines, for all these tests."""
    every = EveryListener(
        {"max_unauthenticated": _BOUND, "first_bytes_timeout": 300, "request_timeout": 300}
    )
    atexit.register(every.stop)
    return every


class IdleConnectionsTests(SynchronousTestCase):
    def assert_bounded(self, option: str, words: str = "") -> None:
        """Open many idle connections there; check what is held, and that others are served."""
        every = bounded()
        place = next(it for it in every.places if (it.option, it.words) == (option, words))
        self.assertTrue(becomes_true(lambda: every.pending(place.kind) <= 1))
        with every.visit(place):
            pass
        before = self.settled(every)
        crowd = idle(every, place, _CROWD)
        try:
            most = before + _BOUND + _MARGIN
            self.assertTrue(becomes_true(lambda: every.gateway.sockets() <= most))
            self.assertTrue(becomes_true(lambda: every.pending(place.kind) == _BOUND))
            begun = time.monotonic()
            with every.visit(place):
                self.assertLess(time.monotonic() - begun, 5)  # it did not wait for a deadline
                self.assertTrue(becomes_true(lambda: every.gateway.sockets() <= most + 2))
            self.visit_the_others(every, place)
            self.assertTrue(becomes_true(lambda: every.gateway.sockets() <= most))
        finally:
            for connection in crowd:
                connection.close()
        self.assertTrue(becomes_true(lambda: every.gateway.sockets() == before))
        self.assertTrue(becomes_true(lambda: every.pending(place.kind) <= 1))

    def visit_the_others(self, every: EveryListener, crowded: Place) -> None:
        """A flood of one kind of listener closes no connection of another."""
        others = [place for place in every.places if place.kind != crowded.kind]
        kept = [every.connect(place) for place in others]
        for place in others:
            with every.visit(place):
                pass
        for place, connection in zip(others, kept, strict=True):
            with connection:
                self.assertRegex(every.ask(connection, place), rb"^HTTP/1.1 (200|300) ")

    def settled(self, every: EveryListener) -> int:
        """Return the count of sockets when nothing changes it any more."""
        counts: list[int] = []

        def same() -> bool:
            counts.append(every.gateway.sockets())
            return len(counts) >= 5 and len(set(counts[-5:])) == 1

        self.assertTrue(becomes_true(same))
        return counts[-1]

    def test_plain(self) -> None:
        """A plain listener."""
        self.assert_bounded("listen")

    def test_tls(self) -> None:
        """One that speaks TLS, and waits for a first byte to know."""
        self.assert_bounded("listen", "https:")

    def test_the_proxy_protocol(self) -> None:
        """One that waits for a balancer's header."""
        self.assert_bounded("listen", "haproxy:")

    def test_both(self) -> None:
        """One that waits for the header, and then for the first byte."""
        self.assert_bounded("listen", "haproxy:https:")

    def test_the_api(self) -> None:
        """The API's, plain."""
        self.assert_bounded("api_listen")

    def test_the_api_by_tls(self) -> None:
        """The API's, by TLS."""
        self.assert_bounded("api_listen", "https:")

    def test_the_metrics(self) -> None:
        """The metrics'."""
        self.assert_bounded("metrics_listen")


class DripTests(SynchronousTestCase):
    def test_a_byte_now_and_then(self) -> None:
        """Holds no connection beyond its time, whatever is served, by TLS or not."""
        every = EveryListener({"request_timeout": 2, "first_bytes_timeout": 2})
        self.addCleanup(every.stop)
        dripping = {place.name: every.connect(place) for place in every.places}
        heard: dict[str, bytes] = {}

        def all_ended() -> bool:
            for name, connection in dripping.items():
                if name not in heard and (answer := _drip(connection)) is not None:
                    heard[name] = answer
            return len(heard) == len(dripping)

        self.assertTrue(becomes_true(all_ended))
        for name, connection in dripping.items():
            connection.close()
            self.assertRegex(heard[name], b"^(HTTP/1.1 408 |$)", name)


def _drip(connection: socket.socket) -> bytes | None:
    """Send a byte; return what was said at the connection's end, or None while it lasts."""
    connection.settimeout(0.1)
    try:
        connection.sendall(b"G")
        return connection.recv(999)
    except TimeoutError:
        return None
    except OSError:
        return b""


class HstsTests(SynchronousTestCase):
    def test_what_is_said_by_tls(self) -> None:
        """Strict-Transport-Security is said by TLS, whatever is served, and by nothing else."""
        every = EveryListener({"hsts_max_age": 60}, metrics="haproxy:https:")
        self.addCleanup(every.stop)
        for place in every.places:
            with every.connect(place) as connection:
                answer = every.ask(connection, place)
            said = b"Strict-Transport-Security: max-age=60\r\n" in answer
            self.assertEqual(said, place.speaks_tls, place.name)

    def test_plain_http_where_programs_speak_tls(self) -> None:
        """API and metrics refuse it; consoles serve it, unless told otherwise."""
        for ssl_only in (False, True):
            every = EveryListener(metrics="https:", ssl_only=ssl_only)
            self.addCleanup(every.stop)
            for place in every.places:
                if place.words != "https:":
                    continue
                with socket.create_connection(("127.0.0.1", place.port)) as plain:
                    refused = b"TLS only" in every.ask(plain, place)
                self.assertEqual(refused, ssl_only or place.kind != "consoles", place.name)
