"""Tokens of single use on SQLite: one use, and its resumption; the races are in tests/e2e."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from tests.helpers import grant_for
from tests.tokens.test_table import TableTestCase
from vncproxy.errors import StoreUnavailable, TokenUsed
from vncproxy.model import Grant, Token
from vncproxy.tokens.schema import TOKEN_USES
from vncproxy.tokens.uses import TokenUses, Use

_RESUME_S = 60


class UsesTestCase(TableTestCase):
    every_token = False

    def setUp(self) -> None:
        super().setUp()
        self.uses = TokenUses(self.engine, lambda: self.now, self.every_token, _RESUME_S)

    def issue(self, single_use: bool = True) -> Grant:
        grant = grant_for(Token.new(), expires=int(self.now) + 600)
        self.table.add(grant, single_use=single_use)
        return grant

    def use(self, grant: Grant, secret: str | None = None, new: str = "mine") -> Use:
        return self.uses.use(grant, "192.0.2.1", secret, new)

    def winners(self, grant: Grant) -> int:
        """Use a token in fifty threads at once; return how many were first."""

        def is_first(number: int) -> bool:
            try:
                return self.use(grant, new=str(number)) is Use.FIRST
            except TokenUsed:
                return False

        with ThreadPoolExecutor(50) as pool:
            return sum(pool.map(is_first, range(50)))

    def assert_used(self, grant: Grant, secret: str | None) -> None:
        with self.assertRaises(TokenUsed):
            self.use(grant, secret, "other")
        with self.assertRaises(TokenUsed):
            self.uses.check(grant, secret)


class SingleUseTests(UsesTestCase):
    def test_an_ordinary_token(self) -> None:
        """A token that was not issued so is used as often as one likes."""
        grant = self.issue(single_use=False)
        for _ in range(3):
            self.assertIs(self.use(grant), Use.UNCOUNTED)
        self.uses.check(grant, None)

    def test_once(self) -> None:
        """The second use is refused: without a secret, and with a wrong one."""
        grant = self.issue()
        self.uses.check(grant, None)
        self.assertIs(self.use(grant), Use.FIRST)
        for secret in (None, "", "guess", "\udcff"):
            self.assert_used(grant, secret)

    def test_other_tokens_secrets(self) -> None:
        """A secret resumes its own token only."""
        mine, other = self.issue(), self.issue()
        self.use(mine, new="a")
        self.use(other, new="b")
        self.assert_used(mine, "b")

    def test_resume(self) -> None:
        """Who was first comes back while the session runs, and for a while behind its end."""
        grant = self.issue()
        self.use(grant)
        self.assertIs(self.use(grant, "mine"), Use.RESUMED)
        self.uses.ended(grant, "mine")
        self.now += 10 * _RESUME_S  # the other one still runs
        self.assertIs(self.use(grant, "mine"), Use.RESUMED)
        self.uses.ended(grant, "mine")
        self.uses.ended(grant, "mine")
        self.now += _RESUME_S
        self.uses.check(grant, "mine")
        self.assertIs(self.use(grant, "mine"), Use.RESUMED)
        self.uses.ended(grant, "mine")
        self.now += _RESUME_S + 1
        self.assert_used(grant, "mine")

    def test_undo(self) -> None:
        """A browser that left before its answer has used nothing up."""
        grant = self.issue()
        self.use(grant, new="never seen")
        self.uses.undo(grant, "never seen")
        self.assertIs(self.use(grant, new="second"), Use.FIRST)
        self.uses.undo(grant, "never seen")
        self.assert_used(grant, None)

    def test_at_once(self) -> None:
        """Of fifty threads exactly one is first."""
        self.assertEqual(self.winners(self.issue()), 1)

    def test_purge(self) -> None:
        """A use is remembered an hour longer than its token lives: clocks may differ."""
        grant = self.issue()
        self.use(grant)
        self.now += 600 + 3600
        self.assertEqual(self.uses.purge(), 0)
        self.now += 1
        self.assertEqual(self.uses.purge(), 1)

    def test_the_secret_is_nowhere(self) -> None:
        """The database has the secret's hash only."""
        self.use(self.issue(), new="a-secret-of-the-browser")
        self.engine.dispose()
        self.assertNotIn(b"a-secret-of-the-browser", self.path.read_bytes())


class EveryTokenTests(UsesTestCase):
    every_token = True

    def test_tokens_of_novas(self) -> None:
        """With the option, tokens that nobody issued as such are of single use too."""
        grant = self.issue(single_use=False)
        self.assertIs(self.use(grant), Use.FIRST)
        self.assert_used(grant, None)
        self.assertIs(self.use(grant, "mine"), Use.RESUMED)

    def test_at_once(self) -> None:
        """Of fifty threads that all write the row exactly one is first."""
        self.assertEqual(self.winners(self.issue(single_use=False)), 1)

    def test_without_the_table(self) -> None:
        """Where uses can't be counted nobody gets in, and the text says what to do."""
        TOKEN_USES.drop(self.engine)
        with self.assertRaisesRegex(StoreUnavailable, "vncproxy database create"):
            self.use(grant_for(Token("t")))


class NoTableTests(UsesTestCase):
    def test_a_database_of_novas(self) -> None:
        """Without our table no token is of single use; that is seen as soon as it is made."""
        TOKEN_USES.drop(self.engine)
        self.assertIs(self.use(grant_for(Token("t"))), Use.UNCOUNTED)
        self.assertEqual(self.uses.purge(), 0)
        self.table.create()
        grant = self.issue()
        self.use(grant)
        self.assert_used(grant, None)
