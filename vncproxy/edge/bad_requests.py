"""Requests that are refused for their form: counted, and told in the log."""

from __future__ import annotations

from collections import Counter

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from vncproxy.edge.quiet_log import QuietLog

BAD_STATUSES = (400, 413, 414, 431)


class BadRequests:
    """Knows how many there were.

    Args:
        clock: bounds the lines in the log.

    Attributes:
        by_status: how many, by the answer's status.
    """

    _log = Logger()

    def __init__(self, clock: IReactorTime) -> None:
        self._lines = QuietLog(self._log, clock)
        self.by_status: Counter[int] = Counter()

    def refused(self, peer: str, status: int, why: str) -> None:
        """Count one, and tell of it.

        Args:
            peer: who is connected to us.
            status: of the answer.
            why: for the operator; it holds no bytes of the request.
        """
        self.by_status[status] += 1
        text = "a request of {peer} is answered by {status}: {why}"
        self._lines.warn(text, peer=peer, status=status, why=why)
