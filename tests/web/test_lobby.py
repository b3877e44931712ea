"""Clients without a console, when the gateway stops."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.task import LoopingCall
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tests.helpers import grant_for
from tests.web.harness import Connection, WebHarness, request_bytes
from vncproxy.model import Token

_PAGE = request_bytes("/console", {"Host": "h"})


class LobbyTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.web = WebHarness()
        self.web.store.grants["good"] = grant_for(Token("good"))

    def stop(self) -> Deferred[LoopingCall]:
        return self.web.site.lobby.stopService()

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
        self.web.site.lobby.hurry()
        self.successResultOf(self.stop())
