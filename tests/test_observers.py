"""Several observers of one session."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.helpers import RecordingObserver
from vncproxy.errors import AuditUnavailable
from vncproxy.model import Ending, SessionFacts
from vncproxy.observers import Observers


class Failing(RecordingObserver):
    """An observer whose disk is full."""

    def _keep(self, event: str, facts: SessionFacts) -> None:
        raise OSError("no space left")


class Objecting(RecordingObserver):
    """An observer that must not miss a session, and does."""

    def _keep(self, event: str, facts: SessionFacts) -> None:
        raise AuditUnavailable(event)


class ObserversTests(SynchronousTestCase):
    def test_each_hears_of_each_edge(self) -> None:
        """All are told, in order, and the fault of one hurts neither session nor others."""
        first, last = RecordingObserver(), RecordingObserver()
        observers = Observers([first, Failing(), last])
        facts = SessionFacts("req-1", "192.0.2.1", 0.0)
        observers.started(facts)
        facts.ending = Ending.SERVER_CLOSED
        observers.ended(facts)
        observers.refused(facts)
        for observer in (first, last):
            self.assertEqual(
                observer.events, ["started", "ended server-closed", "refused server-closed"]
            )
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 3)

    def test_an_objection(self) -> None:
        """One may object to a start, when all have heard of it; not to an end."""
        last = RecordingObserver()
        observers = Observers([Objecting(), last])
        facts = SessionFacts("req-1", "192.0.2.1", 0.0)
        self.assertRaises(AuditUnavailable, observers.started, facts)
        facts.ending = Ending.AUDIT_UNAVAILABLE
        observers.ended(facts)
        self.assertEqual(last.events, ["started", "ended audit-unavailable"])
