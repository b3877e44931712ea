"""The connections that are nobody's yet: how many there may be, and what a stop does to them."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock, LoopingCall
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tests.helpers import grant_for
from tests.web.harness import Connection, WebHarness, request_bytes
from vncproxy.edge.pending import MOST_HELD_BYTES, PendingConnections
from vncproxy.model import Token

_PAGE = request_bytes("/console", {"Host": "h"})


class StopTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.web = WebHarness()
        self.web.store.grants["good"] = grant_for(Token("good"))

    def stop(self) -> Deferred[LoopingCall]:
        return self.web.pending.stopService()

    def lose(self, connection: Connection) -> None:
        connection.protocol.connectionLost(Failure(ConnectionDone()))

    def test_nobody(self) -> None:
        """There is nobody to wait for."""
        self.successResultOf(self.stop())

    def test_a_client_that_has_not_asked_yet(self) -> None:
        """It is answered first."""
        connection = self.web.connect()
        stopping = self.stop()
        self.web.clock.advance(0.5)
        self.assertNoResult(stopping)
        connection.send(_PAGE)
        self.assertEqual(connection.answer()[0], 200)
        self.web.clock.advance(0.1)
        self.assertTrue(connection.disconnecting)
        self.assertNoResult(stopping)  # the answer is on its way
        self.lose(connection)
        self.web.clock.advance(0.1)
        self.successResultOf(stopping)

    def test_a_token_that_is_looked_up(self) -> None:
        """It still becomes a console, which is the registry's then."""
        self.web.store.pending = []
        self.web.upgrade("/?token=good")
        stopping = self.stop()
        self.web.clock.advance(0.5)
        self.assertNoResult(stopping)
        self.web.store.pending[0].callback(grant_for(Token("good")))
        self.assertEqual(len(self.web.registry), 1)
        self.web.clock.advance(0.1)
        self.successResultOf(stopping)

    def test_an_idle_connection(self) -> None:
        """One that was answered before is closed at once."""
        connection = self.web.connect()
        connection.send(_PAGE)
        self.assertFalse(connection.disconnecting)
        self.stop()
        self.assertTrue(connection.disconnecting)

    def test_a_client_that_goes(self) -> None:
        """It is not waited for either."""
        connection = self.web.connect()
        stopping = self.stop()
        self.lose(connection)
        self.web.clock.advance(0.1)
        self.successResultOf(stopping)

    def test_a_silent_one(self) -> None:
        """A connection that a browser never uses delays the stop by a second at most."""
        self.web.connect()
        stopping = self.stop()
        self.web.clock.advance(0.99)
        self.assertNoResult(stopping)
        self.web.clock.advance(0.02)
        self.successResultOf(stopping)

    def test_in_a_hurry(self) -> None:
        """Ctrl-C waits for nobody."""
        self.web.connect()
        self.web.pending.hurry()
        self.successResultOf(self.stop())


class FakeConnection:
    def __init__(self) -> None:
        self.gave_way = False

    def give_way(self) -> None:
        """Note it."""
        self.gave_way = True

    def close_if_idle(self) -> None:
        """Do nothing."""

    def retire(self) -> None:
        """Do nothing."""


class BoundTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.pending = PendingConnections(3, Clock())
        self.connections = [FakeConnection() for _ in range(5)]

    def enter(self, number: int) -> bool:
        return self.pending.enter(number, self.connections[number])

    def gone(self) -> list[int]:
        return [n for n, c in enumerate(self.connections) if c.gave_way]

    def test_the_oldest_gives_way(self) -> None:
        """At the bound a new connection takes the place of the one that waits longest."""
        for number in range(5):
            self.assertTrue(self.enter(number))
        self.assertEqual(self.gone(), [0, 1])
        self.assertEqual((len(self.pending), self.pending.turned_away), (3, 2))

    def test_who_asks_is_not_closed(self) -> None:
        """A connection whose request is being answered stays; after it, it waits anew."""
        for number in range(3):
            self.enter(number)
            self.pending.asks(number)
        self.assertFalse(self.enter(3))
        self.assertEqual(self.gone(), [])
        self.pending.answered(1)
        self.assertTrue(self.enter(4))
        self.assertEqual(self.gone(), [1])
        for number in range(5):
            self.pending.leave(number)
        self.assertEqual(len(self.pending), 0)

    def test_one_protocol_after_another(self) -> None:
        """Who takes a connection over has its place and its age, and takes nobody else's."""
        for number in range(3):
            self.enter(number)
        heir = FakeConnection()
        self.assertTrue(self.pending.enter(0, heir))
        self.assertEqual((len(self.pending), self.pending.turned_away), (3, 0))
        self.enter(3)
        self.assertTrue(heir.gave_way)
        self.assertEqual(self.gone(), [])

    def test_what_requests_hold(self) -> None:
        """Together it is bounded; then who has most makes room, being answered or not."""
        third = MOST_HELD_BYTES // 3
        for number in range(3):
            self.enter(number)
            self.pending.holds(number, third)
        self.assertEqual(self.gone(), [])
        self.pending.holds(1, third - 1)
        self.pending.asks(2)
        self.pending.holds(2, third + 1)
        self.pending.holds(0, third - 9)
        self.assertEqual(self.gone(), [])
        self.pending.holds(0, third + 9)
        self.assertEqual(self.gone(), [0])
        self.pending.holds(1, 2 * third)
        self.assertEqual(self.gone(), [0, 1])
        self.pending.holds(2, 3 * third + 9)
        self.assertEqual(self.gone(), [0, 1, 2])
        self.assertEqual((len(self.pending), self.pending.turned_away), (0, 3))
        for number in range(3):
            self.pending.leave(number)
        self.enter(3)
        self.pending.holds(3, MOST_HELD_BYTES)  # nothing of the others is left
        self.assertEqual(self.gone(), [0, 1, 2])

    def test_who_asks_as_browsers_do(self) -> None:
        """Is not closed for others' requests, however long it waits."""
        self.pending = PendingConnections(0, Clock())
        self.enter(0)
        self.pending.holds(0, 4000)
        self.pending.asks(0)
        for number in range(1, 100):
            self.pending.enter(number, FakeConnection())
            self.pending.holds(number, 65536)
        self.assertEqual(self.gone(), [])

    def test_no_bound(self) -> None:
        """0 takes all."""
        self.pending = PendingConnections(0, Clock())
        for number in range(5):
            self.assertTrue(self.enter(number))
        self.assertEqual(self.gone(), [])
