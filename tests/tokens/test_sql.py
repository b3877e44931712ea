"""The token store off the reactor's thread: answers, time-outs, and callers that leave."""

from __future__ import annotations

from typing import cast

from twisted.internet.defer import CancelledError
from twisted.trial.unittest import SynchronousTestCase

from tests.helpers import InlineThreadPool, ThreadClock, grant_for
from vncproxy.errors import StoreUnavailable, TokenInvalid
from vncproxy.model import Grant, Token
from vncproxy.threads import IReactor
from vncproxy.tokens.sql import SqlTokenStore, threads_for
from vncproxy.tokens.table import TokenTable


class _Table:
    """A table of one token, that counts how often it is asked."""

    def __init__(self, token: Token) -> None:
        self.grant = grant_for(token)
        self.token = token
        self.asked = 0

    def find(self, token: Token) -> Grant:
        self.asked += 1
        if token != self.token:
            raise TokenInvalid("unknown")
        return self.grant

    def purge(self) -> int:
        return 3


class SqlTokenStoreTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.token = Token.new()
        self.table = _Table(self.token)
        self.clock = ThreadClock()

    def store(self, threads: InlineThreadPool, at_once: int | None = None) -> SqlTokenStore:
        table = cast(TokenTable, self.table)
        return SqlTokenStore(table, cast(IReactor, self.clock), threads, 5, at_once)

    def test_answers(self) -> None:
        """What the table says comes back through the Deferred."""
        store = self.store(InlineThreadPool())
        self.assertEqual(self.successResultOf(store.find(self.token)), self.table.grant)
        self.failureResultOf(store.find(Token("other")), TokenInvalid)
        self.assertEqual(self.successResultOf(store.purge()), 3)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_slow_database(self) -> None:
        """A look-up that takes too long fails in time, and its late answer goes nowhere."""
        threads = InlineThreadPool(wait=True)
        looking = self.store(threads).find(self.token)
        self.clock.advance(4.9)
        self.assertNoResult(looking)
        self.clock.advance(0.2)
        failure = self.failureResultOf(looking, StoreUnavailable)
        self.assertEqual(str(failure.value), "the token database did not answer in 5 s")
        threads.run()
        self.assertEqual(self.table.asked, 0)

    def test_a_caller_that_leaves(self) -> None:
        """A cancelled look-up that still waits for a thread asks the database nothing."""
        threads = InlineThreadPool(wait=True)
        looking = self.store(threads).find(self.token)
        looking.cancel()
        self.failureResultOf(looking, CancelledError)
        threads.run()
        self.assertEqual(self.table.asked, 0)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_too_many_wait(self) -> None:
        """The queue has an end, and takes new look-ups when there is room again."""
        threads = InlineThreadPool(wait=True)
        store = self.store(threads)
        waiting = [store.find(self.token) for _ in range(500)]
        self.failureResultOf(store.find(self.token), StoreUnavailable)
        threads.run()
        for looking in waiting:
            self.successResultOf(looking)
        self.assertNoResult(store.find(self.token))

    def test_a_few_at_once(self) -> None:
        """The next call is begun when one is done, and not before; its time runs meanwhile."""
        threads = InlineThreadPool(wait=True)
        store = self.store(threads, at_once=2)
        looking = [store.find(self.token) for _ in range(4)]
        self.assertEqual(len(threads.waiting), 2)
        looking[2].cancel()
        self.failureResultOf(looking[2], CancelledError)
        threads.waiting.pop(0)()
        self.successResultOf(looking[0])
        self.assertEqual(len(threads.waiting), 2)
        self.clock.advance(5.1)
        for late in (looking[1], looking[3]):
            self.failureResultOf(late, StoreUnavailable)

    def test_threads(self) -> None:
        """There are as many threads as connections, up to a bound."""
        self.assertEqual([threads_for(n).max for n in (1, 5, 55)], [1, 5, 20])
