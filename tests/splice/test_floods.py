"""Floods of frames on the engine, with the WebSocket's real protocol on real sockets."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.address import UNIXAddress
from twisted.internet.tcp import Connection
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tests.helpers import ws_frame
from tests.splice.sockets import FdReactor, SocketLeg
from vncproxy.model import Ending, SessionFacts
from vncproxy.splice.engine import Engine
from vncproxy.splice.frames import MOST_AT_ONCE
from vncproxy.splice.last_words import hear_out
from vncproxy.web.intake import FRAMES_A_TURN, MOST_IDLE_FRAMES, MOST_UNSENT_BYTES
from vncproxy.web.websocket import BrowserFactory, BrowserLeg

_MASK = b"abcd"
_PING = ws_frame(b"", _MASK, 0x89)
_KEY = ws_frame(b"k", _MASK)
_HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


class ClientConnection(Connection):
    """A transport that knows where it leads."""

    def getHost(self) -> UNIXAddress:
        """Return our end."""
        return UNIXAddress(b"gateway")

    def getPeer(self) -> UNIXAddress:
        """Return the client's end."""
        return UNIXAddress(b"client")

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Take the option, which no pair of sockets has."""


class Session:
    """A session whose sockets the engine has.

    Attributes:
        peer: the client's socket.
        leg: the client's leg.
        server: the server's leg.
        connection: the client's Twisted transport.
        at_server: what has arrived at the server.
        ending: how the client's leg said it was lost.

    Args:
        reactor: of the transports.
        engine: takes the sockets.
        factory: makes the client's protocol.
        early: what the protocol has received when the engine comes.
    """

    def __init__(
        self, reactor: FdReactor, engine: Engine, factory: BrowserFactory, early: bytes = b""
    ) -> None:
        ours, self.peer = socket.socketpair()
        for end in (ours, self.peer):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        self.peer.setblocking(False)
        self.ending: Ending | None = None
        self.at_server = b""
        self.protocol = factory.protocol_for(self._opened)
        self.connection = ClientConnection(ours, self.protocol, reactor)
        self.connection.connected = 1
        self.connection.startReading()
        hear_out(self.connection)
        self.protocol.makeConnection(self.connection)
        self.protocol.dataReceived(_HANDSHAKE)
        self.connection.doWrite()
        self.peer.recv(1 << 16)
        self.server = SocketLeg(reactor, False)
        self.server.lost = lambda _ending, _detail: None
        self.facts = SessionFacts("req-1", "192.0.2.1", 0.0)
        self.splice = engine.splice(self.leg, self.server, self.facts)
        self.splice.start(b"", b"")
        self.protocol.feed(early)
        self._sockets = (ours, self.peer, self.server.peer, self.server.real.socket)
        reactor.turn()

    def _opened(self, leg: BrowserLeg) -> None:
        self.leg = leg
        leg.lost = lambda ending, _detail: setattr(self, "ending", ending)

    @property
    def borrowed(self) -> bool:
        """Whether the engine has the sockets."""
        borrowed: bool = self.splice.borrowed  # type: ignore[attr-defined]
        return borrowed

    def reads(self) -> bytes:
        """Return what has arrived at the client."""
        data = b""
        while True:
            try:
                piece = self.peer.recv(1 << 20)
            except BlockingIOError:
                return data
            if not piece:
                return data
            data += piece

    def close(self) -> None:
        """Close all sockets."""
        for end in self._sockets:
            end.close()


class FloodTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor = FdReactor()
        self.engine = Engine(self.reactor)  # type: ignore[arg-type]  # a Clock and an FDSet
        self.factory = BrowserFactory(1 << 20, 0, self.reactor)

    def session(self, early: bytes = b"") -> Session:
        session = Session(self.reactor, self.engine, self.factory, early)
        self.addCleanup(session.close)
        return session

    def turn(self, session: Session) -> None:
        """Let the reactor have one turn."""
        if self.engine in self.reactor.readers:
            self.engine.doRead()
        for connection in (session.connection, session.server.real):
            for ready, do in (
                (self.reactor.writers, connection.doWrite),
                (self.reactor.readers, connection.doRead),
            ):
                lost = do() if connection in ready else None
                if lost:
                    self.reactor.removeReader(connection)
                    self.reactor.removeWriter(connection)
                    connection.connectionLost(Failure(lost))
        self.reactor.turn()
        session.at_server += session.server.peer_reads()

    def turns_until(self, session: Session, condition: Callable[[], bool]) -> int:
        """Let turns pass until it holds; return how many."""
        for count in range(10_000):
            if condition():
                return count
            self.turn(session)
        raise AssertionError("it never came to that")


class TurnTests(FloodTestCase):
    def test_common_frames(self) -> None:
        """Of many tiny frames so many are taken a turn, in order, and others are served between."""
        session, other = self.session(), self.session()
        keys = bytes(i % 251 for i in range(10_000))
        session.peer.sendall(b"".join(ws_frame(bytes([key]), _MASK) for key in keys))
        self.turn(session)
        self.assertEqual(session.facts.bytes_to_server, 2 * MOST_AT_ONCE)
        other.peer.sendall(_KEY)
        self.turn(session)
        self.assertEqual(other.server.peer_reads(), b"k")
        self.assertEqual(session.facts.bytes_to_server, 3 * MOST_AT_ONCE)
        self.turns_until(session, lambda: session.facts.bytes_to_server == len(keys))
        self.assertEqual(session.at_server, keys)
        self.assertTrue(session.borrowed)

    def test_other_frames(self) -> None:
        """The same for those that the protocol takes; the engine keeps the sockets."""
        session, other = self.session(), self.session()
        session.peer.sendall(_PING * (MOST_IDLE_FRAMES - 1) + _KEY)
        self.turn(session)
        self.assertLess(len(session.reads()), 6 * FRAMES_A_TURN)  # 2 bytes each
        other.peer.sendall(_KEY)
        self.turn(session)
        self.assertEqual(other.server.peer_reads(), b"k")
        self.turns_until(session, lambda: session.facts.bytes_to_server == 1)
        self.assertTrue(session.borrowed)
        session.peer.sendall(_KEY)
        self.turn(session)
        self.assertEqual(session.at_server, b"kk")
        self.assertTrue(session.protocol.between_frames)

    def test_too_many(self) -> None:
        """A session of frames that carry nothing ends with 1008."""
        for frame in (_PING, ws_frame(b"", _MASK)):
            session = self.session()
            session.peer.sendall(frame * 10_000)
            self.turns_until(session, lambda s=session: not s.borrowed)  # type: ignore[misc]
            for _ in range(100):
                self.turn(session)
            self.assertIn(b"\x03\xf0The client sends too many", session.reads())
            self.reactor.advance(3)
            self.reactor.advance(0)
            self.assertEqual(session.ending, Ending.CLIENT_FLOOD)

    def test_an_end_behind_a_flood(self) -> None:
        """What stands before the client's end is delivered, before its end is believed."""
        for frames in (_KEY * 5000, _KEY * 3000 + _PING + _KEY * 2000):
            session = self.session()
            session.peer.sendall(frames)
            session.peer.shutdown(socket.SHUT_WR)
            self.turns_until(session, lambda s=session: s.ending is not None)  # type: ignore[misc]
            self.assertEqual(session.facts.bytes_to_server, 5000)

    def test_a_stop_within_a_flood(self) -> None:
        """A session that gives its sockets back goes on where it was."""
        for frames in (_KEY * 5000, (_KEY * 9 + _PING) * 500 + _KEY * 500):
            session = self.session()
            session.peer.sendall(frames)
            self.turn(session)
            session.splice.stop()
            self.turns_until(
                session,
                lambda s=session: s.facts.bytes_to_server == 5000,  # type: ignore[misc]
            )
            for _ in range(3):
                self.turn(session)
            self.assertEqual(session.at_server, b"k" * 5000)

    def test_a_backlog_from_before(self) -> None:
        """What the protocol still has when the engine comes is before what the engine reads."""
        early = b"".join(ws_frame(b"%04d" % i, _MASK) for i in range(1000))
        session = self.session(early)
        self.assertTrue(session.borrowed)
        session.peer.sendall(ws_frame(b"last", _MASK))
        self.turns_until(session, lambda: session.facts.bytes_to_server >= 4004)
        for _ in range(3):
            self.turn(session)
        expected = b"".join(b"%04d" % i for i in range(1000)) + b"last"
        self.assertEqual(session.at_server, expected)


class UnreadTests(FloodTestCase):
    def test_a_client_that_reads_nothing(self) -> None:
        """Its pings are answered up to a bound; then it is read no further, till it reads."""
        self.check(self.session())

    def test_on_the_portable_path(self) -> None:
        """The same where the transports have their sockets."""
        session = self.session()
        session.splice.stop()
        self.check(session, borrowed=False)

    def check(self, session: Session, borrowed: bool = True) -> None:
        ping = ws_frame(bytes(125), _MASK, 0x89)
        sent = answered = 0
        for _ in range(80):
            self.reactor.advance(5)  # it is no flood by its rate
            for _ in range(400):
                try:
                    session.peer.send(ping)
                except BlockingIOError:
                    break
                sent += 1
            for _ in range(20):
                self.turn(session)
        self.assertLess(sent, 30_000)
        self.assertLess(session.splice.buffered_bytes, MOST_UNSENT_BYTES + 2 * 65536)
        self.assertIs(session.borrowed, borrowed)
        for _ in range(10_000):
            answered += session.reads().count(b"\x8a\x7d")
            if answered == sent:
                break
            self.reactor.advance(10)
            self.turn(session)
        self.assertEqual(answered, sent)


_SENT = st.one_of(
    st.tuples(st.just(0x82), st.binary(max_size=200)),
    st.tuples(st.just(0x82), st.sampled_from([b"", b"k", bytes(5000)])),
    st.sampled_from([(0x89, b"?"), (0x8A, b""), (0x89, bytes(125))]),
)
_MEANWHILE = st.one_of(st.integers(1, 20_000), st.sampled_from(["stop", "read"]))


class OrderTests(FloodTestCase):
    @settings(max_examples=60)
    @given(st.lists(_SENT, min_size=1, max_size=40), st.integers(1, 60), st.lists(_MEANWHILE))
    def test_any_course(
        self, frames: list[tuple[int, bytes]], times: int, events: list[int | str]
    ) -> None:
        """Common and other frames, cut anywhere: what arrives, and is answered, is in order."""
        session = Session(self.reactor, self.engine, self.factory)
        self.reactor.advance(10)  # the frames of another example are not counted
        frames *= min(times, MOST_IDLE_FRAMES // len(frames))
        wire = b"".join(ws_frame(payload, _MASK, first) for first, payload in frames)
        at_client = b""
        for event in [*events, *[len(wire)] * 300]:
            if isinstance(event, int):
                with contextlib.suppress(BlockingIOError):
                    wire = wire[session.peer.send(wire[:event]) :] if wire else wire
            elif event == "stop":
                session.splice.stop()
            else:
                at_client += session.reads()
            self.turn(session)
            self.reactor.advance(0.01)
        at_client += session.reads()
        session.close()
        self.assertEqual(wire, b"")
        self.assertEqual(session.at_server, b"".join(p for first, p in frames if first == 0x82))
        pongs = b"".join(ws_frame(p, None, 0x8A) for first, p in frames if first == 0x89)
        self.assertEqual(at_client, pongs)
