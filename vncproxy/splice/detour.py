"""The browser's transport, as its protocol sees it while the engine has the socket."""

from __future__ import annotations

from typing import Any, Protocol

from vncproxy.splice.wire import StandIn, Wire


class Borrower(Protocol):
    """Who has the socket."""

    def hold(self, held: bool) -> None:
        """Read the browser no further, or again."""

    def release(self) -> None:
        """Give the socket back to its transport."""


class Sender(Protocol):
    """The browser's end of the splice.

    Attributes:
        wire: its socket.
    """

    wire: Wire

    def send(self, data: bytes) -> None:
        """Send bytes, behind those that are unsent."""


class Detour(StandIn):
    """Takes what the protocol writes to its place among the frames.

    The protocol may also say that nothing is to be read for a while. Anything else that is asked
    of a transport is asked of the real one, which has its socket back by then.
    """

    def __init__(self, borrower: Borrower, end: Sender, transport: object) -> None:
        super().__init__(end.wire)
        self._borrower = borrower
        self.write = end.send  # a frame of the protocol's own
        self._transport = transport

    def pauseProducing(self) -> None:
        """Read no further."""
        self._borrower.hold(True)

    def resumeProducing(self) -> None:
        """Read again."""
        self._borrower.hold(False)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        self._borrower.release()
        return getattr(self._transport, name)
