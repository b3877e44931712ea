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

State = Literal["ready", "draining", "database"]

_FRESH_S = 2.0  # anybody may ask, and the database shall not answer more often than this


class Readiness(Service):
    """Knows whether the gateway drains, and asks now and then whether the database answers.

    It stops first of all services, and so begins the drain.

    Args:
        try_database: fails with a ``GatewayError`` when tokens can't be looked up.
        clock: runs the times.
        notice_s: seconds of the drain for which connections are still taken.
        drains: called when the drain begins.
    """

    _log = Logger()

    def __init__(
        self,
        try_database: Callable[[], Deferred[None]],
        clock: IReactorTime,
        notice_s: float,
        drains: Callable[[], None] = lambda: None,
    ) -> None:
        self._try_database = try_database
        self._clock = clock
        self._notice_s = notice_s
        self._drains = drains
        self._notice: Deferred[None] | None = None
        self._draining = False
        self._answer: State = "ready"
        self._asked = float("-inf")

    async def state(self) -> State:
        """Return ``ready``, or what keeps this node from it: its drain, or its database."""
        if self._draining:
            return "draining"
        if self._clock.seconds() - self._asked >= _FRESH_S:
            self._asked = self._clock.seconds()
            await self._ask()
        return "draining" if self._draining else self._answer

    async def _ask(self) -> None:
        before = self._answer
        try:
            await self._try_database()
        except GatewayError as error:
            self._answer = "database"
            if before == "ready":
                self._log.error("not ready: {error}", error=error)
        else:
            self._answer = "ready"
            if before != "ready":
                self._log.info("ready again: the database answers")

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
