"""Blocking calls of a library, made in threads, with a bound on how many and how long."""

from __future__ import annotations

from collections.abc import Callable
from threading import Thread
from typing import Any, NoReturn, TypeVar

from twisted.internet.defer import CancelledError, Deferred, DeferredSemaphore, fail
from twisted.internet.interfaces import IReactorThreads, IReactorTime
from twisted.internet.threads import deferToThreadPool
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool

from vncproxy.errors import GatewayError

T = TypeVar("T")

_MOST_WAITING = 500


class IReactor(IReactorTime, IReactorThreads):
    """What of the reactor the calls need."""


class _FreeThread(Thread):
    def __init__(self, *arguments: Any, **named: Any) -> None:  # noqa: ANN401  Thread's own
        super().__init__(*arguments, daemon=True, **named)


class FreeThreads(ThreadPool):
    """A pool for calls that may hang: no process that ends waits for its threads.

    The reactor's own pool is not for such calls: it has ten threads for everybody, and joins them.
    """

    threadFactory = _FreeThread


class BlockingCalls:
    """Makes calls in threads for callers who must not wait for ever.

    Args:
        reactor: runs the callbacks and the time-outs.
        threads: started and stopped by the caller.
        timeout_s: seconds, > 0; whoever asked is told by then.
        whom: that is asked, for the operator: "the token database".
        unavailable: the error for whoever is not answered.
        at_once: how many calls may run at once, so that each next one is begun by the reactor and
            not by a thread that is done; None for as many as there are threads.
    """

    def __init__(
        self,
        reactor: IReactor,
        threads: ThreadPool,
        timeout_s: float,
        whom: str,
        unavailable: Callable[[str], GatewayError],
        at_once: int | None = None,
    ) -> None:
        self._reactor = reactor
        self._threads = threads
        self._timeout_s = timeout_s
        self._whom = whom
        self._unavailable = unavailable
        self._slots = DeferredSemaphore(at_once or _MOST_WAITING)
        self._waiting = 0

    def run(self, call: Callable[[], T]) -> Deferred[T]:
        """Return what the call returns; cancelling keeps a call that still waits from starting."""
        if self._waiting >= _MOST_WAITING:
            return fail(self._unavailable(f"{self._waiting} already wait for {self._whom}"))
        wanted = True

        def call_if_wanted() -> T:
            if not wanted:  # whoever asked has gone or was told: spare whom we would ask
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
        answer.addTimeout(self._timeout_s, self._reactor, self._too_late)
        return answer.addBoth(settle)

    def _too_late(self, _cancelled: object, timeout_s: float) -> NoReturn:
        raise self._unavailable(f"{self._whom} did not answer in {timeout_s:g} s")
