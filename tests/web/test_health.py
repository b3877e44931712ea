"""What balancers ask: /healthz, /readyz, and what makes the latter fail."""

from __future__ import annotations

from typing import Any, cast

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionDone
from twisted.logger import globalLogPublisher
from twisted.python.failure import Failure
from twisted.test.proto_helpers import EventLoggingObserver
from twisted.trial.unittest import SynchronousTestCase

from tests.web.harness import WebHarness, json_of
from vncproxy.errors import GatewayFull, StoreUnavailable
from vncproxy.readiness import Readiness
from vncproxy.web.health import Healthz, Readyz


class HealthTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.web = WebHarness()
        self.asked = 0
        self.database: Deferred[None] | Exception | None = None
        self.room: Exception | None = None
        self.readiness = Readiness(self.ask, self.have_room, self.web.clock, notice_s=5.0)
        self.readiness.startService()
        self.web.site.resource.putChild(b"healthz", Healthz())
        self.web.site.resource.putChild(b"readyz", Readyz(self.readiness))

    def ask(self) -> Deferred[None]:
        self.asked += 1
        if isinstance(self.database, Exception):
            return fail(self.database)
        return self.database or succeed(None)

    def have_room(self) -> Deferred[None]:
        return fail(self.room) if self.room else succeed(None)

    def ready(self) -> tuple[int, str]:
        """Return the status of /readyz, and its word."""
        connection = self.web.request("/readyz")
        return connection.answer()[0], json_of(connection)["status"]

    def test_alive(self) -> None:
        """/healthz answers, whatever the database does; HEAD too."""
        self.database = StoreUnavailable("away")
        for method in ("GET", "HEAD"):
            connection = self.web.request("/healthz", method=method)
            self.assertEqual(connection.answer()[0], 200)

    def test_ready(self) -> None:
        """/readyz answers 200 while the database does, and asks it every two seconds at most."""
        for _ in range(5):
            self.assertEqual(self.ready(), (200, "ready"))
        self.assertEqual(self.asked, 1)
        self.web.clock.advance(2)
        self.ready()
        self.assertEqual(self.asked, 2)

    def test_the_database_goes_and_comes_back(self) -> None:
        """It fails without a word of the inside, and recovers alone."""
        self.database = StoreUnavailable("the token database failed: password of nova@10.0.0.3")
        self.assertEqual(self.ready(), (503, "database"))
        self.assertNotIn(b"10.0.0.3", self.web.request("/readyz").value())
        self.database = None
        self.web.clock.advance(2)
        self.assertEqual(self.ready(), (200, "ready"))

    def test_a_database_that_can_t_even_be_asked(self) -> None:
        """Whatever goes wrong, and however often it is asked: not ready, with one line why."""
        log = EventLoggingObserver.createWithCleanup(cast(Any, self), globalLogPublisher)
        self.database = RuntimeError("no library for that")
        for _ in range(3):
            self.assertEqual(self.ready(), (503, "database"))
        self.web.clock.advance(2)
        self.assertEqual(self.ready(), (503, "database"))
        (line,) = [event for event in log if "not ready" in event["log_format"]]
        self.assertEqual(line["reason"], "RuntimeError: no library for that")

    def test_while_it_is_asked(self) -> None:
        """Nobody is told anything before the answer; whoever leaves does not take it along."""
        self.database = Deferred()
        connections = [self.web.request("/readyz") for _ in range(3)]
        connections[0].protocol.connectionLost(Failure(ConnectionDone()))
        self.assertEqual([connection.value() for connection in connections], [b""] * 3)
        self.database.errback(StoreUnavailable("away"))
        for connection in connections[1:]:
            self.assertEqual(connection.answer()[0], 503)
        self.assertEqual(self.asked, 1)

    def test_a_fault_of_our_own(self) -> None:
        """Is answered, too, and is not ready."""
        self.patch(self.readiness, "state", lambda: 1 / 0)
        self.assertEqual(self.ready(), (503, "unknown"))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_full(self) -> None:
        """A node with all the sessions that it may have should get none, for as long as that is."""
        self.room = GatewayFull("40 sessions already; see [vncproxy] max_sessions")
        self.assertEqual(self.ready(), (503, "full"))
        self.assertNotIn(b"40", self.web.request("/readyz").value())
        self.room = None
        self.assertEqual(self.ready(), (503, "full"))
        self.web.clock.advance(2)
        self.assertEqual(self.ready(), (200, "ready"))

    def test_full_without_a_database(self) -> None:
        """What is worse counts; the drain counts most."""
        self.room = GatewayFull("full")
        self.database = StoreUnavailable("away")
        self.assertEqual(self.ready(), (503, "database"))
        self.readiness.stopService()
        self.assertEqual(self.ready(), (503, "draining"))

    def test_a_balancer_that_leaves(self) -> None:
        """One that does not wait for the database breaks nothing."""
        self.database = Deferred()
        connection = self.web.request("/readyz")
        connection.protocol.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_draining(self) -> None:
        """From the stop's first moment it fails; the listeners stay for the notice."""
        stopping = self.readiness.stopService()
        assert stopping is not None
        self.assertEqual(self.ready(), (503, "draining"))
        self.web.clock.advance(4.9)
        self.assertNoResult(stopping)
        self.web.clock.advance(0.2)
        self.successResultOf(stopping)
        self.assertEqual(self.asked, 0)

    def test_in_a_hurry(self) -> None:
        """A second signal ends the notice, and one at first gives none."""
        stopping = self.readiness.stopService()
        assert stopping is not None
        self.readiness.hurry()
        self.successResultOf(stopping)
        self.assertIsNone(self.readiness.stopService())
