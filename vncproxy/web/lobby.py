"""Clients that are here but have no console: a stop lets them be answered first.

Between its connection and its answer a client takes milliseconds. To cut it would be a refusal,
where systemd, or a balancer, has the next gateway ready.
"""

from __future__ import annotations

from typing import Protocol

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from typing_extensions import override

_LONGEST_S = 1.0  # browsers also open connections that they never use
_LOOK_S = 0.02


class Guest(Protocol):
    """A connection in the lobby."""

    def close_if_idle(self) -> None:
        """Close it, unless it may still ask, or be answered; what was written is delivered."""


class Lobby(Service):
    """The connections that are no consoles; its stop waits until they are answered.

    It stops after the listeners, so nobody comes in any more.

    Args:
        clock: runs the wait.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._guests: set[Guest] = set()
        self._longest_s = _LONGEST_S
        self._stopped = 0.0
        self._looks = LoopingCall(self._look)
        self._looks.clock = clock

    def enter(self, guest: Guest) -> None:
        """Know a connection."""
        self._guests.add(guest)

    def leave(self, guest: Guest) -> None:
        """Forget it: it has gone, or is a console's."""
        self._guests.discard(guest)

    def hurry(self) -> None:
        """Let a stop, begun or not, wait for nobody."""
        self._longest_s = 0.0

    @override
    def stopService(self) -> Deferred[LoopingCall]:
        super().stopService()
        self._stopped = self._clock.seconds()
        return self._looks.start(_LOOK_S)

    def _look(self) -> None:
        for guest in list(self._guests):
            guest.close_if_idle()
        if not self._guests or self._clock.seconds() - self._stopped >= self._longest_s:
            self._looks.stop()
