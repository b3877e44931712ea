"""The sessions that live now; stopping it ends them all, and waits until they are gone."""

from __future__ import annotations

from collections.abc import Iterator

from twisted.application.service import Service
from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from typing_extensions import override

from vncproxy.interfaces import Leg
from vncproxy.model import Ending
from vncproxy.session import Session


class Registry(Service):
    """Starts sessions and knows them until nothing of them is left.

    Args:
        clock: runs the time-out of the stop.
        stop_timeout_s: seconds that browsers get to answer the close when the gateway stops.
    """

    _log = Logger()

    def __init__(self, clock: IReactorTime, stop_timeout_s: float) -> None:
        self._clock = clock
        self._stop_timeout_s = stop_timeout_s
        self._sessions: set[Session] = set()
        self._refused = 0
        self._stopping = False
        self._empty: Deferred[None] | None = None

    def __len__(self) -> int:
        return len(self._sessions)

    def __contains__(self, session: object) -> bool:
        return session in self._sessions

    @property
    def refused(self) -> int:
        """How many of the sessions only say why there is no console."""
        return self._refused

    def __iter__(self) -> Iterator[Session]:
        return iter(list(self._sessions))

    def start(self, session: Session, browser: Leg) -> None:
        """Let a session begin, and forget it when it has ended."""
        self._sessions.add(session)
        self._refused += session.refused
        ended = session.start(browser)
        ended.addErrback(lambda failure: self._log.failure("a session broke", failure))
        ended.addCallback(lambda _: self._forget(session))
        if self._stopping:  # its connection was open before the listeners closed
            session.end(Ending.GATEWAY_STOPPING)

    def _forget(self, session: Session) -> None:
        self._sessions.discard(session)
        self._refused -= session.refused
        if not self._sessions and self._empty is not None:
            self._empty.callback(None)
            self._empty = None

    @override
    def stopService(self) -> Deferred[None]:
        """End every session; the Deferred fires when all are gone, or the time is over."""
        super().stopService()
        self._stopping = True
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        if not self._sessions:
            return
        empty: Deferred[None] = Deferred()
        self._empty = empty
        for session in self:
            session.end(Ending.GATEWAY_STOPPING)
        empty.addTimeout(self._stop_timeout_s, self._clock)
        try:
            await empty
        except TimeoutError:
            self._empty = None
            for session in self:
                session.abort()
