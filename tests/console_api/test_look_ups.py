"""Tokens looked up elsewhere: how many at once, for how long, and after how many guesses."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.console_api.harness import FakeKeystone
from vncproxy.console_api.callers import Authenticator, Caller, Presented
from vncproxy.console_api.faults import Fault
from vncproxy.console_api.look_ups import TokenLookUps, first_known
from vncproxy.limits.failures import FailedTokens

_KIM = Caller("kim")


class _Fails:
    """An authenticator that raises."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault

    async def caller_of(self, presented: Presented) -> Caller | None:
        """Raise."""
        raise self.fault


class LookUpsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.keystone = FakeKeystone()
        self.keystone.known = {"good": _KIM}
        failed = FailedTokens(10, self.clock.seconds)
        self.look_ups = TokenLookUps([self.keystone], failed, self.clock, 10)

    def ask(self, token: str, client: str = "a") -> Deferred[Caller | None]:
        return Deferred.fromCoroutine(self.look_ups.caller_of(Presented(token), token, client))

    def status(self, asked: Deferred[Caller | None]) -> int:
        fault: Fault = self.failureResultOf(asked, Fault).value
        return fault.status

    def test_a_flood_of_bad_tokens(self) -> None:
        """Of 500 at once ten are looked up, however long that takes; the others are refused."""
        self.keystone.pending = []
        asked = [self.ask(f"bad {number}") for number in range(500)]
        self.assertEqual(len(self.keystone.asked), 10)
        self.assertEqual({self.status(late) for late in asked[50:]}, {429})
        while self.keystone.pending:
            self.keystone.pending.pop(0).callback(None)
        self.assertEqual(len(self.keystone.asked), 10)
        self.assertEqual({self.successResultOf(first) for first in asked[:10]}, {None})
        self.assertEqual({self.status(then) for then in asked[10:50]}, {429})
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_crowd_of_clients(self) -> None:
        """Beyond 200 in all there is no place, for whomever; then there is again."""
        self.keystone.pending = []
        asked = [self.ask("good", f"client {number}") for number in range(201)]
        fault = self.failureResultOf(asked[200], Fault).value
        self.assertEqual((fault.status, fault.headers["Retry-After"]), (503, "1"))
        for look_up in self.keystone.pending:
            look_up.callback(None)
        self.keystone.pending = None
        self.assertEqual({self.successResultOf(one) for one in asked[:200]}, {_KIM})
        self.assertIs(self.successResultOf(self.ask("good")), _KIM)

    def test_the_deadline(self) -> None:
        """Is one for the whole, with the wait for a turn; and nobody's fault."""
        self.keystone.pending = []
        asked = [self.ask(f"bad {number}") for number in range(20)]
        self.clock.advance(9.9)
        for one in asked:
            self.assertNoResult(one)
        self.clock.advance(0.2)
        for one in asked:
            fault = self.failureResultOf(one, Fault).value
            self.assertEqual((fault.status, fault.headers["Retry-After"]), (503, "60"))
        self.keystone.pending = None
        self.assertIs(self.successResultOf(self.ask("good")), _KIM)

    def test_a_client_that_leaves(self) -> None:
        """Has shown a bad token, if its look-up had begun: or leaving would be a way to guess."""
        self.keystone.pending = []
        for number in range(10):
            left = self.ask(f"bad {number}")
            left.cancel()
            self.failureResultOf(left)
        self.assertEqual(self.status(self.ask("bad")), 429)
        self.assertEqual(len(self.keystone.asked), 10)

    def test_a_good_token_is_asked_about_each_time(self) -> None:
        """Since it may be revoked; then it is one bad token of its client's."""
        for _ in range(2):
            self.assertIs(self.successResultOf(self.ask("good")), _KIM)
        self.keystone.known = {}
        self.assertIsNone(self.successResultOf(self.ask("good")))
        self.assertEqual(self.keystone.asked, ["good"] * 3)
        for _ in range(10):
            self.assertIsNone(self.successResultOf(self.ask("good")))
        self.assertEqual(self.status(self.ask("good")), 429)

    def test_a_good_token_that_floods(self) -> None:
        """Is looked up ten times at once, and takes no more than its share of the places."""
        self.assertIs(self.successResultOf(self.ask("good")), _KIM)
        self.keystone.pending = []
        asked = [self.ask("good") for _ in range(60)]
        self.assertEqual(len(self.keystone.asked), 11)
        self.assertEqual({self.status(late) for late in asked[50:]}, {429})
        while self.keystone.pending:
            self.keystone.pending.pop(0).callback(None)
        self.assertEqual({self.successResultOf(one) for one in asked[:50]}, {_KIM})

    def test_memory_is_bounded(self) -> None:
        """Of a flood of good tokens the oldest are forgotten."""
        for number in range(10_050):
            self.keystone.known = {f"t{number}": _KIM}
            self.successResultOf(self.ask(f"t{number}"))
        self.assertLessEqual(len(self.look_ups._good), 10_000)
        self.assertEqual(len(self.look_ups._under_way), 0)


class FirstKnownTests(SynchronousTestCase):
    def ask(self, *faults: Fault) -> Deferred[Caller | None]:
        keystone = FakeKeystone()
        keystone.known = {"good": _KIM}
        methods: list[Authenticator] = [*(_Fails(fault) for fault in faults), keystone]
        return Deferred.fromCoroutine(first_known(methods, Presented("good")))

    def test_one_that_does_not_know(self) -> None:
        """Keeps nobody out whom another knows; but what is refused for good, is."""
        self.assertIs(self.successResultOf(self.ask(Fault(503, "Broken."))), _KIM)
        self.failureResultOf(self.ask(Fault(403, "No.")), Fault)
