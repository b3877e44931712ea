"""The token store of a running gateway: the table's blocking calls, moved off the reactor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool

from vncproxy.errors import StoreUnavailable
from vncproxy.measures import NO_MEASURES, Measures
from vncproxy.model import Grant, Token
from vncproxy.threads import BlockingCalls, FreeThreads, IReactor
from vncproxy.tokens.table import TokenTable
from vncproxy.tokens.uses import TokenUses, Use

T = TypeVar("T")

_MOST_THREADS = 20


def threads_for(connections: int | None) -> ThreadPool:
    """Return a pool, not started, with a thread for each connection, up to a bound.

    Args:
        connections: as many as may be open; None for any number.
    """
    most = _MOST_THREADS if connections is None else min(connections, _MOST_THREADS)
    return FreeThreads(0, most, name="tokens")


class SqlTokenStore:
    """Looks tokens up in SQL, in threads of its own, each look-up with a time-out.

    Args:
        table: the blocking calls.
        reactor: runs the callbacks and the time-outs.
        threads: started and stopped by the caller.
        timeout_s: seconds, > 0; a look-up that takes longer fails with ``StoreUnavailable``.
        at_once: how many calls may run at once, so that each next one is begun by the reactor and
            not by a thread that is done; None for as many as there are threads.

    Attributes:
        measures: is told how long the calls take.
    """

    def __init__(
        self,
        table: TokenTable,
        reactor: IReactor,
        threads: ThreadPool,
        timeout_s: float,
        at_once: int | None = None,
    ) -> None:
        self.measures: Measures = NO_MEASURES
        self._table = table
        self._reactor = reactor
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
        begun = self._reactor.seconds()

        def measure(result: T | Failure) -> T | Failure:
            self._measure(result, self._reactor.seconds() - begun)
            return result

        return self._calls.run(call).addBoth(measure)

    def _measure(self, result: object, seconds: float) -> None:
        failure = result if isinstance(result, Failure) else None
        if failure is None or not failure.check(CancelledError):
            failed = failure is not None and failure.check(StoreUnavailable) is not None
            self.measures.called("database", seconds, failed)


class SqlTokenUses:
    """Counts the uses of tokens in SQL, in the store's threads.

    Args:
        uses: the blocking calls.
        store: whose threads and time-out to use.
    """

    def __init__(self, uses: TokenUses, store: SqlTokenStore) -> None:
        self._uses = uses
        self._store = store

    def use(self, grant: Grant, client: str, secret: str | None, new_secret: str) -> Deferred[Use]:
        """Use a token (see ``TokenUses.use``).

        When the Deferred is cancelled, or the database too slow, the token is not used.
        """
        use: Use | None = None
        wanted = True

        def take_back() -> None:
            if use is Use.FIRST:
                self._uses.undo(grant, new_secret)
            elif use is Use.RESUMED and secret is not None:
                self._uses.ended(grant, secret)

        def use_if_wanted() -> Use:
            nonlocal use
            use = self._uses.use(grant, client, secret, new_secret)
            if not wanted:  # the answer comes too late
                take_back()
            return use

        def failed(failure: Failure) -> Failure:
            nonlocal wanted
            wanted = False
            if use is not None:  # the thread was through, but we have not heard
                self._store.call(take_back).addErrback(lambda _: None)
            return failure

        return self._store.call(use_if_wanted).addErrback(failed)

    def check(self, grant: Grant, secret: str | None) -> Deferred[None]:
        """Fail where ``use`` would; use nothing."""
        return self._store.call(lambda: self._uses.check(grant, secret))

    def ended(self, grant: Grant, secret: str) -> Deferred[None]:
        """Note the end of a session."""
        return self._store.call(lambda: self._uses.ended(grant, secret))

    def purge(self) -> Deferred[int]:
        """Forget expired tokens; return how many there were."""
        return self._store.call(self._uses.purge)
