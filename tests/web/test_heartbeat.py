"""The heartbeat: who is pinged, who is given up, and who must not be."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from vncproxy.web.heartbeat import Heartbeat


class HeartbeatTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.events: list[str] = []
        self.heartbeat = self.make(25)

    def make(self, interval_s: float) -> Heartbeat:
        return Heartbeat(
            self.clock,
            interval_s,
            lambda: self.events.append("ping"),
            lambda seconds: self.events.append(f"dead after {seconds:g}"),
        )

    def beats(self, count: int) -> list[str]:
        """Let intervals pass; return what happened."""
        self.events.clear()
        for _ in range(count):
            self.clock.advance(25)
        return self.events

    def test_a_silent_peer(self) -> None:
        """It is pinged twice, and given up after the second silence."""
        self.heartbeat.start()
        self.clock.advance(24.9)
        self.assertEqual(self.events, [])
        self.clock.advance(0.1)
        self.assertEqual(self.beats(3), ["ping", "dead after 50"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_any_byte_is_life(self) -> None:
        """A peer that sends anything between two beats is alive."""
        self.heartbeat.start()
        for _ in range(10):
            self.assertEqual(self.beats(1), ["ping"])
            self.heartbeat.heard()

    def test_a_peer_that_we_do_not_read(self) -> None:
        """While our own back-pressure keeps its answers unread it is pinged, and not given up."""
        self.heartbeat.start()
        self.heartbeat.deaf(True)
        self.assertEqual(self.beats(20), ["ping"] * 20)
        self.heartbeat.deaf(False)
        self.assertEqual(self.beats(3), ["ping", "ping", "dead after 50"])

    def test_off(self) -> None:
        """0 is no heartbeat; and a stop before a start is none either."""
        quiet = self.make(0)
        quiet.start()
        self.assertEqual(self.beats(5), [])
        quiet.stop()

    def test_stopped(self) -> None:
        """A closing connection is pinged no more."""
        self.heartbeat.start()
        self.heartbeat.stop()
        self.assertEqual(self.beats(5), [])
