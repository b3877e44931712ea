"""The splice on ordinary Twisted transports: two legs, each slowed by the other's reader."""

from __future__ import annotations

from vncproxy.interfaces import Leg, Tap
from vncproxy.model import SessionFacts
from vncproxy.splice.wire import unsent_bytes


class Splice:
    """Copies the bytes of two legs to each other, and counts them.

    Args:
        browser: the client's leg.
        server: the console's leg.
        facts: its byte counters are kept here.
        tap: sees both streams, and may take something out of the client's.
    """

    def __init__(
        self, browser: Leg, server: Leg, facts: SessionFacts, tap: Tap | None = None
    ) -> None:
        self._browser = browser
        self._server = server
        self._facts = facts
        self._tap = tap

    def start(self, for_browser: bytes, for_server: bytes) -> None:
        """Take over what the legs receive, until they are given to somebody else.

        Args:
            for_browser: bytes of the server's stream that were read with the handshake.
            for_server: bytes of the client's stream that were read with the handshake.
        """
        self._server.received = self._to_browser
        self._browser.received = self._to_server
        self._browser.throttle_by(self._server)
        self._server.throttle_by(self._browser)
        if for_browser:
            self._to_browser(for_browser)
        if for_server:
            self._to_server(for_server)

    def stop(self) -> None:
        """Leave the legs as their transports know them: the session's end begins."""

    @property
    def buffered_bytes(self) -> int:
        """How many bytes of the session wait here for one of the peers."""
        return unsent_bytes(self._browser.transport) + unsent_bytes(self._server.transport)

    def _to_browser(self, data: bytes) -> None:
        if self._tap is not None:
            self._tap.from_server(data)
        self._facts.bytes_to_client += len(data)
        self._browser.write(data)

    def _to_server(self, data: bytes) -> None:
        if self._tap is not None:
            data = self._tap.from_client(data)
            if not data:
                return
        self._facts.bytes_to_server += len(data)
        self._server.write(data)
