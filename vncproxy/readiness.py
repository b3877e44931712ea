"""Whether this node should get new consoles."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from typing_extensions import override

from vncproxy.errors import GatewayError
from vncproxy.reason import reason_of

State = Literal["ready", "draining", "database", "full"]

_FRESH_S = 2.0  # anybody may ask, and the database shall not answer more often than this


class Readiness(Service):
    """Knows whether the gateway drains, and asks now and then what else new consoles need.

    It stops first of all services, and so begins the drain.

    Args:
        try_database: fails with a ``GatewayError`` when tokens can't be looked up.
        have_room: fails with a ``GatewayError`` when there are as many sessions as there may be.
        clock: runs the times.
        notice_s: seconds of the drain for which connections are still taken.
        drains: called when the drain begins.
    """

    _log = Logger()

    def __init__(
        self,
        try_database: Callable[[], Deferred[None]],
        have_room: Callable[[], Deferred[None]],
        clock: IReactorTime,
        notice_s: float,
        drains: Callable[[], None] = lambda: None,
    ) -> None:
        self._try_database = try_database
        self._have_room = have_room
        self._clock = clock
        self._notice_s = notice_s
        self._drains = drains
        self._notice: Deferred[None] | None = None
        self._draining = False
        self._answer: State | None = None  # nobody has asked yet
        self._asked = float("-inf")
        self._asking = False
        self._waiting: list[Deferred[None]] = []

    async def state(self) -> State:
        """Return ``ready``, or what keeps this node from it."""
        if self._draining:
            return "draining"
        if not self._asking and self._clock.seconds() - self._asked >= _FRESH_S:
            self._asking = True
            self._asked = self._clock.seconds()
            # Whoever leaves meanwhile ends the question for nobody else.
            Deferred.fromCoroutine(self._ask()).addBoth(self._tell)
        if self._asking:
            answered: Deferred[None] = Deferred()
            self._waiting.append(answered)
            await answered
        return "draining" if self._draining else self._answer or "database"

    async def _ask(self) -> None:
        before = self._answer
        self._answer, reason = await self._found_out()
        if self._answer == before:
            return
        if self._answer == "ready":
            if before is not None:
                self._log.info("ready again")
        elif self._answer == "full":
            self._log.warn("not ready: {reason}", reason=reason)
        else:
            self._log.error("not ready: {reason}", reason=reason)

    async def _found_out(self) -> tuple[State, str]:
        """Return the state that the gateway is in now, and why."""
        try:
            await self._try_database()
        except Exception as error:  # what could not be asked is not ready
            return "database", _told(error)
        try:
            await self._have_room()
        except Exception as error:
            return "full", _told(error)
        return "ready", ""

    def _tell(self, _done: object) -> None:
        self._asking = False
        waiting, self._waiting = self._waiting, []
        for answered in waiting:
            answered.callback(None)

    def hurry(self) -> None:
        """Give no notice, or no more of it."""
        self._notice_s = 0.0
        if self._notice is not None:
            self._notice.cancel()

    @override
    def stopService(self) -> Deferred[None] | None:
        super().stopService()
        self._draining = True
        self._drains()
        if not self._notice_s:
            return None
        self._log.info(
            "not ready any more; connections are taken for {seconds:g} s yet",
            seconds=self._notice_s,
        )
        self._notice = deferLater(self._clock, self._notice_s)
        return self._notice.addErrback(lambda _hurried: None)


def _told(error: Exception) -> str:
    return str(error) if isinstance(error, GatewayError) else reason_of(error)
