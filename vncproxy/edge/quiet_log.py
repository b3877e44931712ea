"""Lines of the log that anybody may cause: written at a bounded rate."""

from __future__ import annotations

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger, LogLevel

_QUIET_S = 60.0


class QuietLog:
    """Writes one line a minute as a warning, the others for debugging.

    A refusal must cost less than what caused it. The warning says how many there were besides.

    Args:
        log: where they go.
        clock: tells when a minute is over.
    """

    def __init__(self, log: Logger, clock: IReactorTime) -> None:
        self._log = log
        self._clock = clock
        self._quiet_until = 0.0
        self._untold = 0

    def warn(self, text: str, **fields: object) -> None:
        """Write a line.

        Args:
            text: with the fields' names in braces.
            fields: of the line; none holds bytes of a request.
        """
        loud = self._clock.seconds() >= self._quiet_until
        untold = self._untold
        if loud:
            self._quiet_until = self._clock.seconds() + _QUIET_S
        self._untold = 0 if loud else untold + 1
        others = f" (and {untold} like it since the last warning)" if loud and untold else ""
        level = LogLevel.warn if loud else LogLevel.debug
        self._log.emit(level, text + "{others}", others=others, **fields)
