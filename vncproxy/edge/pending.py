"""The connections that are nobody's yet, from their accept on: bounded, and answered before a stop.

They are cheap to open for whoever attacks, so there is a bound to them. At the bound the one that
has waited longest is closed, not the newest refused: an honest browser sends its request at once.

Between its connection and its answer a client takes milliseconds. To cut it at a stop would be a
refusal, where systemd, or a balancer, has the next gateway ready.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, Protocol

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.protocols.policies import ProtocolWrapper
from typing_extensions import override

from vncproxy.edge.bad_requests import BadRequests

_LONGEST_S = 1.0  # browsers also open connections that they never use
_LOOK_S = 0.02
MOST_HELD_BYTES = 3 << 20  # honest requests take some KiB each, for milliseconds


class PendingConnection(Protocol):
    """The protocol of a connection that is nobody's yet."""

    def give_way(self) -> None:
        """Close, because there are too many."""

    def close_if_idle(self) -> None:
        """Close it, unless it may still ask, or be answered; what was written is delivered."""

    def retire(self) -> None:
        """Take no more requests: the rules by which it was let in have changed."""


class PendingConnections(Service):
    """Knows the connections without a session; its stop waits until they are answered.

    It stops after the listeners, so nobody comes in any more.

    Args:
        most: connections at once; 0 for no bound.
        clock: runs the wait.

    Attributes:
        turned_away: how many had to go, or were not let in, because of the bound.
        bad_requests: knows those that are refused for the form of what they sent.
    """

    def __init__(self, most: int, clock: IReactorTime) -> None:
        self._most = most
        self._clock = clock
        # By their accepted transports; the idle ones in the order in which they began to wait.
        self._idle: dict[Hashable, PendingConnection] = {}
        self._asking: dict[Hashable, PendingConnection] = {}
        # Bytes of requests, from the first one that comes until the answer has been written.
        self._held: dict[Hashable, int] = {}
        self._held_bytes = 0
        self.turned_away = 0
        self.bad_requests = BadRequests(clock)
        self._longest_s = _LONGEST_S
        self._stopped = 0.0
        self._looks = LoopingCall(self._look)
        self._looks.clock = clock

    def __len__(self) -> int:
        return len(self._idle) + len(self._asking)

    def enter(self, accepted: Hashable, connection: PendingConnection) -> bool:
        """Count a connection; return False, and do not, where there is no room for it.

        A protocol that another one handed the transport on to takes its place, and its age.
        """
        if accepted not in self._idle and self._most and len(self) >= self._most:
            self.turned_away += 1
            if not self._idle:
                return False
            self._idle.pop(next(iter(self._idle))).give_way()
        self._idle[accepted] = connection
        return True

    def holds(self, accepted: Hashable, count: int) -> None:
        """Note how many bytes a connection makes us hold of requests that are not answered.

        Where they are too many in all, those with the most make room, whether they are being
        answered or not: whoever asks as browsers do has far less than they.
        """
        self._held_bytes += count - self._held.get(accepted, 0)
        if count:
            self._held[accepted] = count
        else:
            self._held.pop(accepted, None)
        while self._held_bytes > MOST_HELD_BYTES:
            largest = max(self._held, key=self._held.__getitem__)
            self._held_bytes -= self._held.pop(largest)
            connection = self._idle.pop(largest, None) or self._asking.pop(largest, None)
            if connection is not None:
                self.turned_away += 1
                connection.give_way()

    def asks(self, accepted: Hashable) -> None:
        """Keep it from being closed: its request is here, and will be answered."""
        if accepted in self._idle:
            self._asking[accepted] = self._idle.pop(accepted)

    def answered(self, accepted: Hashable) -> None:
        """Let it wait again, behind all others: its answer is on the way."""
        if accepted in self._asking:
            self._idle[accepted] = self._asking.pop(accepted)

    def leave(self, accepted: Hashable) -> None:
        """Forget a connection: it is closed, or has become a session."""
        self._idle.pop(accepted, None)
        self._asking.pop(accepted, None)
        self._held_bytes -= self._held.pop(accepted, 0)

    def retire(self) -> None:
        """Let those that are here take no more requests."""
        for connection in self._all():
            connection.retire()

    def hurry(self) -> None:
        """Let a stop, begun or not, wait for nobody."""
        self._longest_s = 0.0

    @override
    def stopService(self) -> Deferred[LoopingCall]:
        super().stopService()
        self._stopped = self._clock.seconds()
        return self._looks.start(_LOOK_S)

    def _look(self) -> None:
        for connection in self._all():
            connection.close_if_idle()
        if not len(self) or self._clock.seconds() - self._stopped >= self._longest_s:
            self._looks.stop()

    def _all(self) -> list[PendingConnection]:
        return [*self._idle.values(), *self._asking.values()]


def accepted_transport(transport: Any) -> Hashable:  # noqa: ANN401  whatever a protocol is given
    """Return the transport that was accepted: this one, or what is below its TLS."""
    while isinstance(transport, ProtocolWrapper):
        transport = transport.transport
    found: Hashable = transport
    return found
