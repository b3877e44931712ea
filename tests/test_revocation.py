"""Consoles whose tokens are deleted while they run."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.defer import Deferred, fail, succeed

from tests.helpers import MemoryLeg, grant_for
from tests.test_opening import RawTestCase
from vncproxy.errors import ANSWERS, StoreUnavailable
from vncproxy.model import Ending, SessionFacts, Token
from vncproxy.registry import Registry
from vncproxy.revocation import RevocationCheck
from vncproxy.session import Session

_NOW = 1_700_000_000


class FakeRegister:
    """Knows the tokens that still have rows; or fails; or answers when the test says so."""

    def __init__(self) -> None:
        self.rows: set[str] = set()
        self.error: Exception | None = None
        self.asked: list[list[str]] = []
        self.answer: Deferred[frozenset[str]] | None = None

    def standing(self, token_hashes: Sequence[str]) -> Deferred[frozenset[str]]:
        self.asked.append(list(token_hashes))
        if self.answer is not None:
            return self.answer
        if self.error is not None:
            return fail(self.error)
        return succeed(frozenset(self.rows & set(token_hashes)))


class RevocationTests(RawTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.registry = Registry(self.clock, 3.0)
        self.register = FakeRegister()
        self.check = RevocationCheck(
            self.registry, self.register, 10.0, self.clock, lambda: _NOW + self.clock.seconds()
        )
        self.check.startService()

    def begin(self, text: str, expires_in_s: int = 600) -> MemoryLeg:
        """Open a console with a token that has a row; return its browser's leg."""
        grant = grant_for(Token(text), expires=_NOW + expires_in_s)
        self.register.rows.add(grant.token_hash)
        facts = SessionFacts(f"req-{text}", "192.0.2.1", 0.0, grant)
        browser = MemoryLeg()
        self.registry.start(Session(self.policy, facts), browser)
        self.dialer.dialed[-1].callback(MemoryLeg())
        return browser

    def test_nobody_is_asked_for_nothing(self) -> None:
        """Without consoles the database is left alone."""
        self.clock.advance(30)
        self.assertEqual(self.register.asked, [])

    def test_one_question_for_all(self) -> None:
        """However many consoles there are, and however many of them have the same token."""
        for text in ("a", "b", "b"):
            self.begin(text)
        self.clock.advance(10)
        (asked,) = self.register.asked
        self.assertEqual(sorted(asked), sorted(Token(text).hash for text in ("a", "b")))

    def test_a_token_is_deleted(self) -> None:
        """All its consoles end, with the reason, and no other."""
        kept, *ended = (self.begin(text) for text in ("kept", "gone", "gone"))
        self.register.rows.remove(Token("gone").hash)
        self.clock.advance(9.9)
        self.assertIsNone(ended[0].closed_with)
        self.clock.advance(0.2)
        self.assertEqual([leg.closed_with for leg in ended], [Ending.TOKEN_REVOKED] * 2)
        self.assertEqual(ended[0].closed_saying, ANSWERS[Ending.TOKEN_REVOKED].words)
        self.assertIsNone(kept.closed_with)

    def test_an_expired_token_is_purged(self) -> None:
        """Nova removes tokens that have expired: that says nothing of their consoles."""
        browser = self.begin("old", expires_in_s=100)
        self.clock.pump([10] * 9)
        self.register.rows.clear()
        self.clock.pump([10] * 60)
        self.assertIsNone(browser.closed_with)
        self.assertEqual(len(self.register.asked), 3)  # at 10, 20 and 30 s: then 60 s remain

    def test_a_host_whose_clock_is_ahead(self) -> None:
        """Its purge takes the token half a minute before its time, which ends nothing."""
        browser = self.begin("old", expires_in_s=100)
        self.clock.advance(10)
        self.clock.advance(60)
        self.register.rows.clear()
        self.clock.pump([10] * 5)
        self.assertIsNone(browser.closed_with)

    def test_the_database_is_away(self) -> None:
        """An outage ends nothing, is warned of once, and the check goes on behind it."""
        browser = self.begin("a")
        self.register.rows.clear()
        self.register.error = StoreUnavailable("down")
        self.clock.pump([10] * 5)
        self.assertIsNone(browser.closed_with)
        self.assertEqual(len(self.register.asked), 5)
        self.register.error = None
        self.clock.advance(10)
        self.assertEqual(browser.closed_with, Ending.TOKEN_REVOKED)

    def test_a_fault_of_ours(self) -> None:
        """An unforeseen error ends nothing, not even the check."""
        browser = self.begin("a")
        self.register.error = ZeroDivisionError("of ours")
        self.clock.advance(10)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertIsNone(browser.closed_with)
        self.clock.advance(10)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_a_slow_database_is_asked_once(self) -> None:
        """The next question waits for the answer to the last; consoles that went are no matter."""
        browser = self.begin("a")
        self.register.answer = Deferred()
        self.clock.pump([10] * 4)
        self.assertEqual(len(self.register.asked), 1)
        browser.lost(Ending.CLIENT_CLOSED, "")
        self.register.answer.callback(frozenset())
        self.assertIsNone(browser.closed_with)
        self.clock.pump([10] * 2)
        self.assertEqual(len(self.register.asked), 1)

    def test_a_console_that_begins_meanwhile(self) -> None:
        """A token that was not asked about can't be missed."""
        self.begin("a")
        self.register.answer = Deferred()
        self.clock.advance(10)
        newcomer = self.begin("b")
        self.register.answer.callback(frozenset([Token("a").hash]))
        self.assertIsNone(newcomer.closed_with)

    def test_stop(self) -> None:
        """Nothing is left in the reactor."""
        self.check.stopService()
        self.assertEqual(self.clock.getDelayedCalls(), [])
