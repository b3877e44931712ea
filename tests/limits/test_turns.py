"""Turns of the reactor: who waits for one, and in which order they come."""

from __future__ import annotations

from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from tests.helpers import TurnClock
from vncproxy.limits.turns import Turns


class TurnsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = TurnClock()
        self.turns = Turns(self.clock)
        self.served: list[str] = []

    def worker(self, name: str, times: int) -> Callable[[], None]:
        """Return a call that wants so many turns, one after another."""
        left = [times]

        def serve() -> None:
            self.served.append(name)
            left[0] -= 1
            if left[0]:
                self.turns.wait(serve)

        return serve

    def test_one_a_turn(self) -> None:
        """In each turn one is served, and those that want more come behind the others."""
        for name in "abc":
            self.turns.wait(self.worker(name, 2))
        self.assertEqual(self.served, [])
        for expected in ("a", "ab", "abc", "abca", "abcab", "abcabc", "abcabc"):
            self.clock.turn()
            self.assertEqual("".join(self.served), expected)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_one_that_breaks(self) -> None:
        """The fault is the reactor's to log, and the next one has its turn all the same."""

        def breaks() -> None:
            raise RuntimeError("a fault")

        self.turns.wait(breaks)
        self.turns.wait(self.worker("next", 1))
        with self.assertRaises(RuntimeError):
            self.clock.turn()
        self.clock.turn()
        self.assertEqual(self.served, ["next"])
