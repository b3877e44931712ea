"""Requests that come before the last answer has left: on real sockets, served turn by turn."""

from __future__ import annotations

import socket
from typing import Any, cast

import txaio
from twisted.internet.address import IPv4Address
from twisted.internet.tcp import Connection
from twisted.trial.unittest import SynchronousTestCase
from typing_extensions import override

from tests.splice.sockets import FdReactor
from tests.web.harness import HANDSHAKE, WebHarness, request_bytes

_ASK = request_bytes("/console", {"Host": "g"})


class _Accepted(Connection):
    """One end of a pair of sockets, as a listener would have accepted it."""

    @override
    def getPeer(self) -> IPv4Address:
        return IPv4Address("TCP", "192.0.2.1", 50000)

    @override
    def getHost(self) -> IPv4Address:
        return IPv4Address("TCP", "192.0.2.2", 6080)

    @override
    def setTcpNoDelay(self, enabled: bool) -> None:
        """Do nothing: the pair is not TCP."""


class PipeliningTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.web = WebHarness()
        # Autobahn's timers ask nobody else.
        self.patch(cast(Any, txaio).config, "loop", self.web.clock)
        self.reactor = FdReactor()
        accepted, self.client = socket.socketpair()
        self.addCleanup(self.client.close)
        self.addCleanup(accepted.close)
        accepted.setblocking(False)
        self.client.setblocking(False)
        channel = cast(Any, self.web.site.buildProtocol(None))
        self.connection = _Accepted(accepted, channel, cast(Any, self.reactor))
        self.connection.connected = 1
        self.connection.startReading()
        channel.makeConnection(self.connection)

    @property
    def reads(self) -> bool:
        """Whether the gateway reads from the client."""
        return self.connection in self.reactor.readers

    def turn(self) -> bytes:
        """Let the client take what the gateway has to send; return it."""
        self.connection.doWrite()
        try:
            return self.client.recv(1 << 20)
        except BlockingIOError:
            return b""

    def test_one_answer_at_a_time(self) -> None:
        """The next request is parsed when the last answer has left; nothing is read meanwhile."""
        self.client.sendall(_ASK * 3)
        self.connection.doRead()
        for left in (2, 1, 0):
            self.assertFalse(self.reads, left)
            self.assertEqual(self.turn().count(b"HTTP/1.1 200"), 1, left)
        self.assertEqual(self.turn(), b"")
        self.assertTrue(self.reads)
        self.client.sendall(_ASK)
        self.connection.doRead()
        self.assertEqual(self.turn().count(b"HTTP/1.1 200"), 1)

    def test_a_request_in_two_parts(self) -> None:
        """What is there of the next one is kept."""
        self.client.sendall(_ASK + _ASK[:20])
        self.connection.doRead()
        self.turn()
        self.client.sendall(_ASK[20:])
        self.connection.doRead()
        self.assertEqual(self.turn().count(b"HTTP/1.1 200"), 1)

    def test_the_last_request(self) -> None:
        """Behind one that asks for the connection's end nothing is answered."""
        last = request_bytes("/console", {"Host": "g", "Connection": "close"})
        self.client.sendall(_ASK + last + _ASK)
        self.connection.doRead()
        answers = b"".join(self.turn() for _ in range(4) if self.connection.connected)
        self.assertEqual(answers.count(b"HTTP/1.1 200"), 2)

    def test_an_upgrade_behind_a_page(self) -> None:
        """It becomes a WebSocket, whose first frame came with it."""
        frame = b"\x82\x8c" + bytes(4) + b"RFB 003.008\n"
        upgrade = request_bytes("/?token=unknown", HANDSHAKE)
        self.client.sendall(_ASK + upgrade + frame)
        self.connection.doRead()
        self.assertIn(b"HTTP/1.1 200", self.turn())
        answer = self.turn()
        self.assertIn(b"HTTP/1.1 101", answer)
        # The reason, which only who has read the client's version is told.
        self.assertIn(b"This console link is not valid", answer)

    def test_a_stop(self) -> None:
        """Requests that are here are answered, then the connection is closed."""
        self.client.sendall(_ASK * 2)
        self.connection.doRead()
        self.web.pending.stopService()
        self.assertFalse(self.connection.disconnecting)
        self.turn()
        self.assertEqual(self.turn().count(b"HTTP/1.1 200"), 1)
        self.web.clock.advance(0.1)
        self.assertTrue(self.connection.disconnecting)
