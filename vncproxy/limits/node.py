"""The limits of a gateway that is one process."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred, execute

from vncproxy.limits.failures import FailedTokens
from vncproxy.limits.rate import Rate
from vncproxy.limits.seats import Seats
from vncproxy.model import Seat


class NodeLimits:
    """Counts in this process (see ``interfaces.Limits``).

    Args:
        rate: of each client's arrivals.
        failures: of each client's tokens.
        seats: of the sessions.
    """

    def __init__(self, rate: Rate, failures: FailedTokens, seats: Seats) -> None:
        self._rate = rate
        self._failures = failures
        self._seats = seats

    def arrive(self, client: str) -> Deferred[None]:
        """Count a request for a console."""
        return _done(lambda: self._rate.arrive(client))

    def begin_look_up(self, client: str) -> Deferred[None]:
        """Wait for the turn to look a token up."""
        return self._failures.begin(client)

    def end_look_up(self, client: str, good: bool | None) -> None:
        """Count a bad token, or forgive all for a good one."""
        self._failures.end(client, good)

    def have_room(self) -> Deferred[None]:
        """Fire where there is a place for anyone."""
        return _done(self._seats.check_node)

    def take_seat(self, name: str, seat: Seat) -> Deferred[None]:
        """Give a session its place."""
        return _done(lambda: self._seats.take(name, seat))

    def leave_seat(self, name: str) -> None:
        """Take the place back."""
        self._seats.leave(name)


def _done(call: Callable[[], None]) -> Deferred[None]:
    done: Deferred[None] = execute(call)
    return done
