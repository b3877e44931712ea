"""Pings to a browser: they keep balancers and firewalls awake, and find out who has gone.

Autobahn has such pings, but takes only pongs and data for life, and would cut a browser whose
answers wait unread because our own back-pressure has paused its reading.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime

_MOST_SILENT_BEATS = 2


class Heartbeat:
    """Pings at an interval, and gives a peer up that is silent for two of them.

    Args:
        clock: runs the interval.
        interval_s: seconds between two pings; 0 for no heartbeat.
        ping: sends one.
        give_up: drops the connection; called with the seconds of silence.
    """

    def __init__(
        self,
        clock: IReactorTime,
        interval_s: float,
        ping: Callable[[], None],
        give_up: Callable[[float], None],
    ) -> None:
        self._interval_s = interval_s
        self._ping = ping
        self._give_up = give_up
        self._silent_beats = 0
        self._deaf = False
        self._clock = clock
        self._next: IDelayedCall | None = None  # a LoopingCall would weigh three times as much

    def start(self) -> None:
        """Begin, with the first ping after one interval."""
        if self._interval_s:
            self._next = self._clock.callLater(self._interval_s, self._beat)

    def stop(self) -> None:
        """End: the connection is closing."""
        if self._next is not None and self._next.active():
            self._next.cancel()

    def heard(self) -> None:
        """Take any byte of the peer's for a sign of life."""
        self._silent_beats = 0

    def deaf(self, deaf: bool) -> None:
        """Know whether we read nothing now; then silence says nothing of the peer."""
        self._deaf = deaf
        self._silent_beats = 0

    def _beat(self) -> None:
        if self._silent_beats >= _MOST_SILENT_BEATS and not self._deaf:
            self._give_up(_MOST_SILENT_BEATS * self._interval_s)
            return
        self._silent_beats += 1
        self.start()
        self._ping()
