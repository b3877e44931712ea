"""The token store of a running gateway: the table's blocking calls, moved off the reactor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NoReturn, TypeVar

from twisted.internet.defer import CancelledError, Deferred, DeferredSemaphore, fail
from twisted.internet.interfaces import IReactorFromThreads, IReactorTime
from twisted.internet.threads import deferToThreadPool
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool

from vncproxy.errors import StoreUnavailable
from vncproxy.model import Grant, Token
from vncproxy.tokens.table import TokenTable

T = TypeVar("T")

_MOST_THREADS = 20
_MOST_WAITING = 500


def threads_for(connections: int) -> ThreadPool:
    """Return a pool, not started, with a thread for each connection, up to a bound."""
    return ThreadPool(0, min(connections, _MOST_THREADS), name="tokens")


class IReactor(IReactorTime, IReactorFromThreads):
    """What of the reactor a store needs."""


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
        self._reactor = reactor
        self._threads = threads
        self._timeout_s = timeout_s
        self._slots = DeferredSemaphore(at_once or _MOST_WAITING)
        self._waiting = 0

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
        if self._waiting >= _MOST_WAITING:
            busy = f"{self._waiting} look-ups already wait for the token database"
            return fail(StoreUnavailable(busy))
        wanted = True

        def call_if_wanted() -> T:
            if not wanted:  # whoever asked has gone or was told: spare the database
                raise CancelledError
            return call()

        def settle(result: T | Failure) -> T | Failure:
            nonlocal wanted
            wanted = False
            self._waiting -= 1
            return result

        self._waiting += 1
        answer: Deferred[T] = self._slots.run(
            deferToThreadPool, self._reactor, self._threads, call_if_wanted
        )
        answer.addTimeout(self._timeout_s, self._reactor, _too_late)
        return answer.addBoth(settle)


def _too_late(_cancelled: object, timeout_s: float) -> NoReturn:
    raise StoreUnavailable(f"the token database did not answer in {timeout_s:g} s")
