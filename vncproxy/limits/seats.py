"""How many sessions there may be: on the node, of a client, on a machine, with a token. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from vncproxy.errors import ClientFull, GatewayError, GatewayFull, InstanceFull, TokenFull
from vncproxy.model import NO_INSTANCE, Seat

# Connections of one SPICE console: there are eleven kinds, and a display and a cursor a monitor.
_MOST_CHANNELS = 16


@dataclass(frozen=True, slots=True)
class MostSessions:
    """The limits; 0 for none.

    Attributes:
        node: of everybody.
        client: of one client (``limits.address``).
        instance: on one machine; tokens that name none have none in common.
        token: with one token.
    """

    node: int = 0
    client: int = 0
    instance: int = 0
    token: int = 0


class Seats:
    """Gives seats to sessions, by name, and takes them back.

    The channels of one console, which are connections of one client with one token, have a seat
    together: up to as many as a console can have, so that a token is no way around the limits.

    Args:
        most: the limits.
    """

    def __init__(self, most: MostSessions) -> None:
        self._most = most
        self._taken: dict[str, Seat] = {}
        self._channels: Counter[Seat] = Counter()
        self._clients: Counter[str] = Counter()
        self._instances: Counter[str] = Counter()
        self._tokens: Counter[str] = Counter()
        self.count = 0

    def check_node(self) -> None:
        """Check that somebody may get a seat.

        Raises:
            GatewayFull: nobody may, whoever comes.
        """
        if self._most.node and self.count >= self._most.node:
            raise GatewayFull(f"{self.count} sessions already; see [vncproxy] max_sessions")

    def take(self, name: str, seat: Seat) -> None:
        """Give the session of this name a seat.

        Raises:
            GatewayFull, ClientFull, InstanceFull, TokenFull: there is none.
        """
        if not seat.channel or self._channels.get(seat, 0) % _MOST_CHANNELS == 0:
            self._check(seat)
            self._count(seat, 1)
        if seat.channel:
            self._channels[seat] += 1
        self._taken[name] = seat

    def leave(self, name: str) -> None:
        """Take back the seat of this name, if it has one."""
        seat = self._taken.pop(name, None)
        if seat is None:
            return
        if seat.channel:
            self._channels[seat] -= 1
            if self._channels[seat] % _MOST_CHANNELS:
                return
            if not self._channels[seat]:
                del self._channels[seat]
        self._count(seat, -1)

    def _check(self, seat: Seat) -> None:
        self.check_node()
        most = self._most
        of_instance = self._instances[seat.instance] if seat.instance != NO_INSTANCE else 0
        checks: list[tuple[int, int, type[GatewayError], str]] = [
            (self._clients[seat.client], most.client, ClientFull, "max_sessions_per_client"),
            (of_instance, most.instance, InstanceFull, "max_sessions_per_instance"),
            (self._tokens[seat.token], most.token, TokenFull, "max_sessions_per_token"),
        ]
        for count, limit, error, option in checks:
            if limit and count >= limit:
                raise error(f"{count} sessions already; see [vncproxy] {option}")

    def _count(self, seat: Seat, change: int) -> None:
        self.count += change
        for counter, key in (
            (self._clients, seat.client),
            (self._instances, seat.instance),
            (self._tokens, seat.token),
        ):
            counter[key] += change
            if not counter[key]:
                del counter[key]
