"""What lies between a WebSocket's opening and the splice, which differs by the kind of console."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from twisted.internet.defer import Deferred, succeed

from vncproxy.errors import GatewayError
from vncproxy.interfaces import Leg
from vncproxy.model import Credentials
from vncproxy.rfb.reader import TlsDemand

_MOST_HELD = 65536


class Opening(Protocol):
    """Takes what the browser says until the console's server is there and both may talk."""

    @property
    def client_served(self) -> bool:
        """Whether the client has its console, so that it is too late to refuse it."""

    @property
    def agreement(self) -> str:
        """What was agreed with both sides, in words for the log."""

    @property
    def unfinished(self) -> str:
        """Who has not done what, in words for the log."""

    def meet(
        self,
        server_leg: Leg,
        credentials: Credentials | None,
        secure: Callable[[TlsDemand], Deferred[None]],
    ) -> Deferred[None]:
        """Begin with the server; the Deferred fires when the streams can be joined.

        Args:
            server_leg: the server's leg; what it receives comes here until then.
            credentials: what to say when the server asks who we are, or None.
            secure: starts TLS on the leg; its Deferred fires when TLS may be trusted.
        """

    def rest(self) -> tuple[bytes, bytes]:
        """Return the bytes that belong to the streams: (for the browser, for the server)."""

    def refuse(self, reason: str) -> Deferred[None]:
        """Say in the console's own protocol, if it has words, why there will be no console.

        The Deferred fires when that is on its way, or the browser has gone.
        """

    def conclude(self) -> bool:
        """Go on with the server alone: there will be no console.

        Returns:
            Whether to wait until what ``meet`` returned fires; else the server may be left now.
        """

    def leg_lost(self, leg: Leg, detail: str) -> GatewayError | None:
        """Return the error that a leg's loss means for the opening; None if it has its own."""


Opener = Callable[[Leg, Callable[[GatewayError], None]], Opening]
"""Begins to open a console to a browser's leg; the second argument is called when it fails."""


class RawOpening:
    """The opening of a serial or SPICE console: nothing is said, and no byte is lost.

    Such a protocol has no words of ours, so the WebSocket's Close alone says why there is no
    console.

    Args:
        browser: the client's leg; what it says before the server is reached is held here.
        failed: never called.
    """

    agreement = "no handshake"
    unfinished = "the console's server was not reached"

    def __init__(self, browser: Leg, failed: Callable[[GatewayError], None]) -> None:
        self._browser = browser
        self._for_server = bytearray()
        self._for_browser = bytearray()
        self.client_served = False
        browser.received = self._from_browser

    def _from_browser(self, data: bytes) -> None:
        self._for_server += data
        if len(self._for_server) > _MOST_HELD:
            self._browser.pause()

    def meet(
        self,
        server_leg: Leg,
        credentials: Credentials | None,
        secure: Callable[[TlsDemand], Deferred[None]],
    ) -> Deferred[None]:
        """Let the streams be joined at once (see ``Opening.meet``)."""
        server_leg.received = self._for_browser.extend
        self.client_served = True
        return succeed(None)

    def rest(self) -> tuple[bytes, bytes]:
        """Return what both sides have said so far (see ``Opening.rest``)."""
        self._browser.resume()
        return bytes(self._for_browser), bytes(self._for_server)

    def refuse(self, reason: str) -> Deferred[None]:
        """Say nothing (see ``Opening.refuse``)."""
        return succeed(None)

    def conclude(self) -> bool:
        """Leave the server (see ``Opening.conclude``)."""
        return False

    def leg_lost(self, leg: Leg, detail: str) -> GatewayError | None:
        """Add nothing to the loss (see ``Opening.leg_lost``)."""
        return None
