"""The connections that have not shown a good token yet. Pure.

They are cheap to open for whoever attacks, so there is a bound to them. At the bound the one that
has waited longest is closed, not the newest refused: an honest browser sends its request at once.
"""

from __future__ import annotations

from typing import Protocol


class Waiter(Protocol):
    """A connection that may be told to go."""

    def give_way(self) -> None:
        """Close, because there are too many."""


class WaitingConnections:
    """Knows the connections without a session.

    Args:
        most: connections at once; 0 for no bound.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._idle: dict[Waiter, None] = {}  # in the order in which they began to wait
        self._asking: set[Waiter] = set()
        self.turned_away = 0

    def __len__(self) -> int:
        return len(self._idle) + len(self._asking)

    def enter(self, connection: Waiter) -> bool:
        """Count a new connection; return False, and do not, where there is no room for it."""
        if self._most and len(self) >= self._most:
            self.turned_away += 1
            if not self._idle:
                return False
            oldest = next(iter(self._idle))
            del self._idle[oldest]
            oldest.give_way()
        self._idle[connection] = None
        return True

    def asks(self, connection: Waiter) -> None:
        """Learn that its request is here, and will be answered: it is not to be closed now."""
        if connection in self._idle:
            del self._idle[connection]
            self._asking.add(connection)

    def answered(self, connection: Waiter) -> None:
        """Learn that it waits for its next request."""
        if connection in self._asking:
            self._asking.remove(connection)
            self._idle[connection] = None

    def leave(self, connection: Waiter) -> None:
        """Forget a connection: it is closed, or has become a session."""
        self._idle.pop(connection, None)
        self._asking.discard(connection)
