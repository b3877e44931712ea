"""The token store of a running gateway: the table's blocking calls, moved off the reactor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from twisted.internet.defer import Deferred
from twisted.python.threadpool import ThreadPool

from vncproxy.errors import StoreUnavailable
from vncproxy.model import Grant, Token
from vncproxy.threads import BlockingCalls, IReactor
from vncproxy.tokens.table import TokenTable

T = TypeVar("T")

_MOST_THREADS = 20


def threads_for(connections: int) -> ThreadPool:
    """Return a pool, not started, with a thread for each connection, up to a bound."""
    return ThreadPool(0, min(connections, _MOST_THREADS), name="tokens")


class SqlTokenStore:
    """Looks tokens up in SQL, in threads of its own, each look-up with a time-out.

    Args:
        table: the blocking calls.
        reactor: runs the callbacks and the time-outs.
        threads: started and stopped by the caller.
        timeout_s: seconds, > 0; a look-up that takes longer fails with ``StoreUnavailable``.
        at_once: how many calls may run at once, so that each next one is begun by the reactor and
            not by a thread that is done; None for as many as there are threads.
    """

    def __init__(
        self,
        table: TokenTable,
        reactor: IReactor,
        threads: ThreadPool,
        timeout_s: float,
        at_once: int | None = None,
    ) -> None:
        self._table = table
        whom = "the token database"
        self._calls = BlockingCalls(reactor, threads, timeout_s, whom, StoreUnavailable, at_once)

    def find(self, token: Token) -> Deferred[Grant]:
        """Return what the token opens (see ``interfaces.TokenStore``)."""
        return self.call(lambda: self._table.find(token))

    def standing(self, token_hashes: Sequence[str]) -> Deferred[frozenset[str]]:
        """Return those of the tokens that have rows (see ``interfaces.TokenRegister``)."""
        return self.call(lambda: self._table.standing(token_hashes))

    def check(self) -> Deferred[None]:
        """Fail with ``StoreUnavailable`` if tokens can't be looked up."""
        return self.call(self._table.check)

    def purge(self) -> Deferred[int]:
        """Remove expired tokens; return how many there were."""
        return self.call(self._table.purge)

    def call(self, call: Callable[[], T]) -> Deferred[T]:
        """Make any blocking call to the database in a thread, with the same time-out."""
        return self._calls.run(call)
