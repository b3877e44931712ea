"""The service tree: the order of its stop, and services that fail at it."""

from __future__ import annotations

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from vncproxy.service import StopInTurn


class _Child(Service):
    def __init__(self, name: str, log: list[str], stopping: Deferred[None] | None = None) -> None:
        self.name = name
        self._log = log
        self._stopping = stopping

    def stopService(self) -> Deferred[None] | None:
        self._log.append(str(self.name))
        return self._stopping


class StopInTurnTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.stopped: list[str] = []
        self.tree = StopInTurn()

    def add(self, name: str, stopping: Deferred[None] | None = None) -> None:
        self.tree.addService(_Child(name, self.stopped, stopping))

    def test_the_last_added_stops_first(self) -> None:
        """Each child stops when the one behind it has stopped."""
        sessions: Deferred[None] = Deferred()
        self.add("database")
        self.add("sessions", sessions)
        self.add("listener")
        stopping = self.tree.stopService()
        self.assertEqual(self.stopped, ["listener", "sessions"])
        self.assertNoResult(stopping)
        sessions.callback(None)
        self.assertEqual(self.stopped, ["listener", "sessions", "database"])
        self.successResultOf(stopping)

    def test_a_child_that_fails(self) -> None:
        """One that does not stop cleanly is logged, and the others stop all the same."""
        broken: Deferred[None] = Deferred()
        broken.errback(ZeroDivisionError())
        self.add("database")
        self.add("broken", broken)
        self.successResultOf(self.tree.stopService())
        self.assertEqual(self.stopped, ["broken", "database"])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
