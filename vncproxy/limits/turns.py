"""Turns of the reactor, for those who have sent more than is served at once."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime


class Turns:
    """Serves those that wait one after another, one in each turn of the reactor.

    However many wait, together they take as much of a turn as one of them, and everybody else's
    bytes, connections and timers come in between.

    Args:
        clock: the reactor, whose turns are shared.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self.clock = clock
        self._waiting: deque[Callable[[], None]] = deque()

    def wait(self, serve: Callable[[], None]) -> None:
        """Call ``serve`` once, in a later turn of the reactor, behind those that wait already."""
        self._waiting.append(serve)
        if len(self._waiting) == 1:
            self.clock.callLater(0, self._serve_one)

    def _serve_one(self) -> None:
        serve = self._waiting[0]
        try:
            serve()
        finally:  # whatever it raises is the reactor's to log; the others have their turns
            self._waiting.popleft()
            if self._waiting:
                self.clock.callLater(0, self._serve_one)
