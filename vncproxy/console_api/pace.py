"""Letting the calls of a crowd begin one by one, so that running consoles don't wait for them."""

from __future__ import annotations

from collections import deque

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from vncproxy.console_api.faults import Fault

_MOST_WAITING = 1000


class Pace:
    """Gives a turn to one call in each turn of the reactor; the others wait in line.

    A call costs about a millisecond of the reactor's time, and fifty may come at once.

    Args:
        clock: tells the reactor's turns.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._line: deque[Deferred[None]] = deque()
        self._taken = False

    async def turn(self) -> None:
        """Return when it is this call's turn.

        Raises:
            Fault: the line is too long.
        """
        if len(self._line) >= _MOST_WAITING:
            raise Fault(503, "Too many requests wait already; try again.", {"Retry-After": "1"})
        if not self._taken:
            self._taken = True
            self._clock.callLater(0, self._next)
            return
        mine: Deferred[None] = Deferred(self._line.remove)
        self._line.append(mine)
        await mine

    def _next(self) -> None:
        if not self._line:
            self._taken = False
            return
        self._clock.callLater(0, self._next)
        self._line.popleft().callback(None)
