"""The sessions that live now; stopping it ends them all, and waits until they are gone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, TimeoutError
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
        drain_timeout_s: seconds before that for which sessions may go on; can be changed.
    """

    _log = Logger()

    def __init__(
        self, clock: IReactorTime, stop_timeout_s: float, drain_timeout_s: float = 0.0
    ) -> None:
        self._clock = clock
        self.drain_timeout_s = drain_timeout_s
        self._stop_timeout_s = stop_timeout_s
        self._sessions: set[Session] = set()
        self._refused = 0
        self._open = True
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
        if not self._open:  # its connection is older than the stop, and it asked too late
            session.end(Ending.GATEWAY_STOPPING)

    def _forget(self, session: Session) -> None:
        self._sessions.discard(session)
        self._refused -= session.refused
        if not self._sessions and self._empty is not None:
            self._empty.callback(None)

    def hurry(self) -> None:
        """Let a stop, begun or not, wait no longer for whatever it waits for."""
        self.drain_timeout_s = 0.0
        if self._empty is not None:
            self._empty.cancel()

    @override
    def stopService(self) -> Deferred[None]:
        """End every session; the Deferred fires when all are gone, or the time is over."""
        super().stopService()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        self._open = False
        if self.drain_timeout_s and self._sessions:
            self._log.info(
                "{count} consoles may go on for {seconds:g} s",
                count=len(self),
                seconds=self.drain_timeout_s,
            )
            await self._until_empty(self.drain_timeout_s)
        for session in self:
            session.end(Ending.GATEWAY_STOPPING)
        await self._until_empty(self._stop_timeout_s)
        for session in self:
            session.abort()

    async def _until_empty(self, timeout_s: float) -> None:
        """Return when all sessions are gone, the time is over, or ``hurry`` was called."""
        if not self._sessions:
            return
        self._empty = Deferred()
        self._empty.addTimeout(timeout_s, self._clock)
        with suppress(TimeoutError, CancelledError):
            await self._empty
        self._empty = None
