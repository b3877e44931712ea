"""The end of a connection to somebody who may never close it: what is delivered is over.

To close TCP while bytes are unread resets it, and a reset loses what the peer has not been sent
yet. So a connection that is closing is read on, slowly, for as long as the peer takes what was
written to it; and no longer, because a machine may send pictures to nobody for ever.
"""

from __future__ import annotations

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from vncproxy.interfaces import IStreamTransport
from vncproxy.splice.wire import undelivered_bytes

_LOOK_EVERY_S = 0.25
_MAY_CLOSE_S = 1.0  # for a program to read what its kernel has acknowledged, and then our end
_MAY_STALL_S = 3.0  # for a machine that takes nothing


class Linger:
    """Drops a connection once it has nothing more to deliver, or can't.

    Args:
        clock: runs it.
        transport: has been told to write no more than it has; its peer may close it before.
    """

    def __init__(self, clock: IReactorTime, transport: IStreamTransport) -> None:
        self._clock = clock
        self._transport = transport
        self._left: int | None = None  # to deliver, when it last became less
        self._since = 0.0
        self._next: IDelayedCall | None = None
        self._look()

    def stop(self) -> None:
        """Be told that the connection is gone."""
        if self._next is not None and self._next.active():
            self._next.cancel()

    def _look(self) -> None:
        left, now = undelivered_bytes(self._transport), self._clock.seconds()
        if self._left is None or left < self._left:
            self._left, self._since = left, now
        if now - self._since >= (_MAY_STALL_S if left else _MAY_CLOSE_S):
            self._transport.abortConnection()
        else:
            self._next = self._clock.callLater(_LOOK_EVERY_S, self._look)
