"""A store and checks that tell how long they take."""

from __future__ import annotations

from typing import TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from vncproxy.errors import PortCheckUnavailable
from vncproxy.interfaces import GrantCheck, TokenStore
from vncproxy.measures import Measures, Phase, Service
from vncproxy.model import Grant, Token

T = TypeVar("T")


class TimedStore:
    """A token store (see ``interfaces.TokenStore``) whose look-ups are measured.

    Args:
        store: the real one.
        measures: told of them.
        clock: measures.
    """

    def __init__(self, store: TokenStore, measures: Measures, clock: IReactorTime) -> None:
        self._store = store
        self._measures = measures
        self._clock = clock

    def find(self, token: Token) -> Deferred[Grant]:
        """Return what the token opens."""
        return _timed("token", self._store.find(token), self._measures, self._clock)


class TimedCheck:
    """A check (see ``interfaces.GrantCheck``) that is measured.

    Args:
        check: the real one.
        measures: told of it.
        clock: measures.
        service: whom the check asks, if it asks somebody; then it is measured as a call too.
    """

    def __init__(
        self,
        check: GrantCheck,
        measures: Measures,
        clock: IReactorTime,
        service: Service | None = None,
    ) -> None:
        self._service = service
        self._check = check
        self._measures = measures
        self._clock = clock

    def check(self, grant: Grant) -> Deferred[None]:
        """Fire when it holds."""
        begun = self._clock.seconds()
        checking = _timed("check", self._check.check(grant), self._measures, self._clock)
        return checking.addBoth(self._called, begun)

    def _called(self, result: T, begun: float) -> T:
        failure = result if isinstance(result, Failure) else None
        given_up = failure is not None and failure.check(CancelledError)
        if self._service is not None and not given_up:
            failed = failure is not None and failure.check(PortCheckUnavailable) is not None
            self._measures.called(self._service, self._clock.seconds() - begun, failed)
        return result


def _timed(
    phase: Phase, waiting: Deferred[T], measures: Measures, clock: IReactorTime
) -> Deferred[T]:
    begun = clock.seconds()

    def done(result: T) -> T:
        measures.took(phase, clock.seconds() - begun)
        return result

    return waiting.addCallback(done)
