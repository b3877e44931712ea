"""Requests that are refused for their form: counted, and told in the log at a bounded rate."""

from __future__ import annotations

from collections import Counter

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger, LogLevel

BAD_STATUSES = (400, 413, 414, 431)
_QUIET_S = 60.0


class BadRequests:
    """Knows how many there were.

    A refusal must cost less than its cause. So one of them a minute is a warning; the others are
    for debugging.

    Args:
        clock: tells when a minute is over.

    Attributes:
        by_status: how many, by the answer's status.
    """

    _log = Logger()

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._quiet_until = 0.0
        self._untold = 0
        self.by_status: Counter[int] = Counter()

    def refused(self, peer: str, status: int, why: str) -> None:
        """Count one, and tell of it.

        Args:
            peer: who is connected to us.
            status: of the answer.
            why: for the operator; it holds no bytes of the request.
        """
        self.by_status[status] += 1
        loud = self._clock.seconds() >= self._quiet_until
        untold = self._untold
        if loud:
            self._quiet_until = self._clock.seconds() + _QUIET_S
            self._untold = 0
        else:
            self._untold += 1
        self._log.emit(
            LogLevel.warn if loud else LogLevel.debug,
            "a request of {peer} is answered by {status}: {why}{others}",
            peer=peer,
            status=status,
            why=why,
            others=f" (and {untold} like it since the last line)" if loud and untold else "",
        )
