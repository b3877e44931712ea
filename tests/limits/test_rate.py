"""How often somebody may ask, and whose turn it is."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.helpers import TurnClock
from vncproxy.console_api.faults import Fault
from vncproxy.console_api.pace import Pace
from vncproxy.limits.rate import TokenBuckets


class TokenBucketsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()

    def test_the_burst_and_then_the_rate(self) -> None:
        """Exactly as many at once as allowed, then one for each that time brings."""
        buckets = TokenBuckets(2, 5, self.clock.seconds)
        self.assertEqual([buckets.take("a") for _ in range(7)], [0, 0, 0, 0, 0, 0.5, 0.5])
        self.clock.advance(0.5)
        self.assertEqual([buckets.take("a"), buckets.take("a")], [0, 0.5])

    def test_each_has_their_own(self) -> None:
        """One who asks too often takes nothing from another."""
        buckets = TokenBuckets(1, 1, self.clock.seconds)
        taken = [buckets.take("a"), buckets.take("a"), buckets.take("b")]
        self.assertEqual(taken, [0, 1, 0])

    def test_silence_is_not_saved_up(self) -> None:
        """After a long time there is a burst, and no more."""
        buckets = TokenBuckets(1, 3, self.clock.seconds)
        self.clock.advance(1000)
        self.assertEqual([buckets.take("a") for _ in range(4)], [0, 0, 0, 1])

    def test_no_limit(self) -> None:
        """0 is none."""
        buckets = TokenBuckets(0, 1, self.clock.seconds)
        self.assertEqual({buckets.take("a") for _ in range(100)}, {0})

    def test_memory_is_bounded(self) -> None:
        """A flood of addresses is forgotten again."""
        buckets = TokenBuckets(1, 1, self.clock.seconds)
        for number in range(20_000):
            buckets.take(number)
        self.assertLessEqual(len(buckets._levels), 10_000)


class PaceTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = TurnClock()
        self.pace = Pace(self.clock)
        self.begun: list[str] = []

    def ask(self, name: str) -> Deferred[None]:
        async def turn() -> None:
            await self.pace.turn()
            self.begun.append(name)

        return Deferred.fromCoroutine(turn())

    def test_one_in_each_turn(self) -> None:
        """The first goes at once, the others one by one, in order."""
        for name in "abc":
            self.ask(name)
        self.assertEqual(self.begun, ["a"])
        self.clock.turn()
        self.assertEqual(self.begun, ["a", "b"])
        self.clock.turn()
        self.assertEqual(self.begun, ["a", "b", "c"])
        self.clock.turn()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.ask("d")
        self.assertEqual(self.begun[-1], "d")

    def test_one_that_leaves(self) -> None:
        """Its turn is the next one's."""
        self.ask("a")
        self.failureResultOf(self.cancelled(self.ask("b")))
        self.ask("c")
        self.clock.turn()
        self.assertEqual(self.begun, ["a", "c"])

    def cancelled(self, waiting: Deferred[None]) -> Deferred[None]:
        waiting.cancel()
        return waiting

    def test_the_line_is_bounded(self) -> None:
        """A crowd too large is sent away."""
        for number in range(1001):
            self.ask(str(number))
        fault = self.failureResultOf(self.ask("late"), Fault).value
        self.assertEqual(fault.status, 503)
