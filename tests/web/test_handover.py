"""What becomes of a connection that is handed to its WebSocket's protocol."""

from __future__ import annotations

import socket
from types import SimpleNamespace
from typing import Any

from twisted.internet.protocol import Protocol
from twisted.internet.tcp import Connection
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http_headers import Headers

from tests.splice.sockets import FdReactor
from vncproxy.splice.last_words import HeardOut
from vncproxy.web.handover import hand_over


class Received(Protocol):
    """Keeps what it receives."""

    data = b""

    def dataReceived(self, data: bytes) -> None:
        self.data += data


class HandOverTests(SynchronousTestCase):
    def test_the_transport_is_heard_out(self) -> None:
        """From its first byte on, in the WebSocket's handshake too."""
        ours, peer = socket.socketpair()
        for end in (ours, peer):
            self.addCleanup(end.close)
        channel: Any = SimpleNamespace(
            transport=Connection(ours, Protocol(), FdReactor()),
            _dataBuffer=[b"early"],
            clearLineBuffer=lambda: b" bytes",
            let_go=lambda: None,
            requests=[],
        )
        request: Any = SimpleNamespace(channel=channel, requestHeaders=Headers({"Host": ["a"]}))
        transport, protocol = channel.transport, Received()
        hand_over(request, protocol)  # type: ignore[arg-type]
        self.assertIsInstance(transport, HeardOut)
        self.assertIs(protocol.transport, transport)
        self.assertEqual(protocol.data, b"GET / HTTP/1.1\r\nhost: a\r\n\r\nearly bytes")
