"""Blocking calls in threads that may hang for ever without keeping anything else from its work."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import TypeVar

from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.interfaces import IReactorFromThreads
from twisted.logger import Logger
from twisted.python.failure import Failure

from vncproxy.threads import IReactor

T = TypeVar("T")

_LET_GO_S = 3.0
_log = Logger()


class BoundedThreads:
    """Makes each call in a daemon thread of its own, a few at a time; the others wait in turn.

    Twisted's ThreadPool is not used because it joins its threads when it stops: a call that never
    returns would keep the gateway from ending.

    Args:
        reactor: runs the callbacks.
        most: calls that may run at once, > 0.
        name: of the threads, for debuggers.
    """

    def __init__(self, reactor: IReactorFromThreads, most: int, name: str) -> None:
        self._reactor = reactor
        self._most = most
        self._name = name
        self._running = 0
        self._waiting: deque[Callable[[], None]] = deque()

    @property
    def running(self) -> int:
        """How many calls run now, those that nobody waits for any more among them."""
        return self._running

    def call(self, blocking: Callable[[], T]) -> Deferred[T]:
        """Make the call; cancelling forgets it, but can't end one that runs."""

        def forget(_answer: Deferred[T]) -> None:
            if begin in self._waiting:
                self._waiting.remove(begin)

        answer: Deferred[T] = Deferred(forget)

        def begin() -> None:
            self._running += 1
            try:
                threading.Thread(target=run, name=self._name, daemon=True).start()
            except RuntimeError:  # the system lets us have no more
                self._running -= 1
                answer.errback()

        def run() -> None:
            result: T | Failure
            try:
                result = blocking()
            except BaseException:
                result = Failure()
            self._reactor.callFromThread(finished, result)

        def finished(result: T | Failure) -> None:
            self._running -= 1
            while self._waiting and self._running < self._most:
                self._waiting.popleft()()
            if not answer.called:
                answer.callback(result)

        if self._running < self._most:
            begin()
        else:
            self._waiting.append(begin)
        return answer


def let_go(reactor: IReactor, close: Callable[[], None], what: str) -> Deferred[None]:
    """Close what may hang; the Deferred fires when that is done, or has taken 3 s.

    Args:
        reactor: runs the callbacks and the time-out.
        close: blocks.
        what: is closed, for the operator.
    """

    def failed(failure: Failure) -> None:
        if failure.check(TimeoutError):
            _log.warn("{what} did not let itself be closed in time", what=what)
        else:
            _log.failure("{what} did not let itself be closed", failure, what=what)

    closing = BoundedThreads(reactor, 1, f"closing {what}").call(close)
    closing.addTimeout(_LET_GO_S, reactor)
    return closing.addErrback(failed)
