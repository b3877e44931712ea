"""An HTTP/1.1 connection that may neither wait nor send without end."""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IDelayedCall, IReactorTime, ITCPTransport
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel
from typing_extensions import override

from vncproxy.limits.waiting import WaitingConnections
from vncproxy.web.lobby import Lobby

_LARGEST_BODY_BYTES = 65536
_LAST_WORDS_S = 1.0  # for a peer to take an answer that ends its connection


class ConsoleChannel(HTTPChannel):
    """Twisted's, with a bound to the time, size and number of requests not yet complete.

    Twisted's own time-out begins anew with each byte. The deadline here does not: a whole request
    must be there ``timeOut`` seconds after the connection was made, or the last answer was sent.

    Args:
        waiting: counts the connections without a session.
        lobby: lets a stop wait for their answers.
        clock: runs the deadline.
        max_request_size: bytes of a request's first line and headers.
    """

    transport: ITCPTransport | None

    def __init__(
        self,
        waiting: WaitingConnections,
        lobby: Lobby,
        clock: IReactorTime,
        max_request_size: int,
    ) -> None:
        super().__init__()
        self.waiting = waiting
        self.lobby = lobby
        self.clock = clock
        self.totalHeadersSize = self.MAX_LENGTH = max_request_size
        self._deadline: IDelayedCall | None = None
        self._body_bytes = 0
        self._over = False
        self._answered = False

    @override
    def connectionMade(self) -> None:
        self.lobby.enter(self)
        super().connectionMade()
        if self.waiting.enter(self):
            self._begin_deadline()
        else:
            self._end_with(b"503 Service Unavailable")

    def give_way(self) -> None:
        """Close: there are newer connections, and this one asks for nothing."""
        self._end_with(b"408 Request Timeout")

    def let_go(self) -> None:
        """Forget the connection: a WebSocket has taken it over."""
        self.setTimeout(None)
        self._stop_deadline()
        self.waiting.leave(self)
        self.lobby.leave(self)

    def close_if_idle(self) -> None:
        """Close it, unless the first request has yet to come, or one is being answered."""
        if self._answered and not self.requests:
            self.loseConnection()

    @override
    def dataReceived(self, data: bytes) -> None:
        if not self._over:
            super().dataReceived(data)

    @override
    def rawDataReceived(self, data: bytes) -> None:
        if not self._handlingRequest:
            self._body_bytes += len(data)
            if self._body_bytes > _LARGEST_BODY_BYTES:
                self._end_with(b"413 Content Too Large")
                return
        super().rawDataReceived(data)

    @override
    def allContentReceived(self) -> None:
        self._stop_deadline()
        self.waiting.asks(self)
        super().allContentReceived()

    @override
    def requestDone(self, request: Any) -> None:
        self._body_bytes = 0
        self._answered = True
        if self.persistent:
            self.waiting.answered(self)
            self._begin_deadline()
        super().requestDone(request)

    @override
    def timeoutConnection(self) -> None:
        self._end_with(b"408 Request Timeout")

    @override
    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.let_go()
        super().connectionLost(reason)

    def _begin_deadline(self) -> None:
        if self.timeOut:
            self._deadline = self.clock.callLater(self.timeOut, self.timeoutConnection)

    def _stop_deadline(self) -> None:
        if self._deadline is not None and self._deadline.active():
            self._deadline.cancel()
        self._deadline = None

    def _end_with(self, status: bytes) -> None:
        """Answer with a status alone, and close, whether the peer reads it or not."""
        self.let_go()
        self._over = True
        transport = self.transport
        if transport is None:
            return
        transport.write(b"HTTP/1.1 %b\r\nConnection: close\r\nContent-Length: 0\r\n\r\n" % status)
        self.loseConnection()
        self._deadline = self.clock.callLater(_LAST_WORDS_S, transport.abortConnection)
