"""What a peer sent last arrives, whatever fails in the other direction first."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

from twisted.internet import tcp, unix
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.main import CONNECTION_LOST
from twisted.internet.tcp import Connection
from twisted.internet.testing import StringTransport
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tests.e2e.raw_client import FrameReader
from tests.helpers import MemoryLeg, ws_frame
from tests.splice.sockets import FdReactor, SecureLeg, SocketLeg, tcp_pair
from vncproxy.model import Ending, SessionFacts
from vncproxy.splice.engine import Engine
from vncproxy.splice.frames import LONGEST_COMMON, take_common
from vncproxy.splice.last_words import HeardOut, hear_out
from vncproxy.splice.portable import Splice
from vncproxy.splice.wire import unsent_bytes

_MASK = b"\x9a\x00\xff\x31"
_MESSAGE = bytes(range(256)) * 200
_LAST = _MESSAGE * 4  # more than anybody reads at once
_PATIENCE_S = 20


class FramedLeg(SocketLeg):
    """A browser's leg that unmasks what the engine leaves to it, and knows a Close."""

    closed = False
    is_paused = False
    _held = b""

    def write(self, data: bytes) -> None:
        super().write(ws_frame(data, None))

    def pause(self) -> None:
        self.is_paused = True
        super().pause()

    def resume(self) -> None:
        self.is_paused = False
        super().resume()

    def dataReceived(self, data: bytes) -> None:
        self._held += data
        payload, taken, _ = take_common(bytearray(self._held), len(self._held), LONGEST_COMMON)
        self._held = self._held[taken:]
        self.between_frames = not self._held
        if payload:
            self.received(payload)
        self.closed = self._held.startswith(b"\x88")

    def feed(self, data: bytes) -> None:
        self.dataReceived(data)


class SecureFramedLeg(SecureLeg, FramedLeg):
    """The same on TLS."""


class LastWordsTestCase(SynchronousTestCase):
    """A session on real sockets, with a reactor that runs when the test says so."""

    direct = True
    browser_leg: type[FramedLeg] = FramedLeg
    server_leg: type[SocketLeg] = SocketLeg

    def setUp(self) -> None:
        self.reactor = EPollReactor()
        self.addCleanup(self._close_reactor)
        self.losses: list[tuple[str, Ending]] = []
        self.browser = self.browser_leg(self.reactor, True, tcp_pair())
        self.server = self.server_leg(self.reactor, False, tcp_pair())
        for name, leg in (("browser", self.browser), ("server", self.server)):
            self.addCleanup(leg.peer.close)
            leg.lost = lambda ending, _detail, name=name: self.losses.append(  # type: ignore[misc]
                (name, ending)
            )
        facts = SessionFacts("req-1", "192.0.2.1", 0.0)
        if self.direct:
            engine = Engine(self.reactor)  # type: ignore[arg-type]  # which has all of it
            self.splice: Splice = engine.splice(self.browser, self.server, facts)
        else:
            self.splice = Splice(self.browser, self.server, facts)
        self.frames = FrameReader()
        self.splice.start(b"", b"")
        self.reactor.iterate(0)

    def _close_reactor(self) -> None:
        self.reactor.removeAll()
        self.reactor._poller.close()
        for waker in self.reactor._internalReaders:
            waker.connectionLost(None)

    def until(self, condition: Callable[[], object]) -> None:
        """Run the reactor until the condition holds."""
        deadline = time.monotonic() + _PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline, f"in vain; lost so far: {self.losses}"
            self.reactor.iterate(0.01)

    def client_sends_last(self, close: bytes = b"") -> None:
        """Send a lot, while a picture for the client waits that will be served first."""
        self.server.peer.send(b"picture")
        self.browser.peer_sends_last(ws_frame(_MESSAGE, _MASK) * 4 + close)

    def server_sends_last(self) -> None:
        """The same the other way round, where a key waits."""
        self.browser.peer.send(ws_frame(b"key", _MASK))
        self.server.peer_sends_last(_LAST)

    def read_at(self, leg: SocketLeg) -> bytes:
        """Return what of the stream has come to the leg's peer, since this was last called."""
        data = leg.peer_reads()
        if leg is self.server:
            return data
        return b"".join(payload for _, payload in self.frames.feed(data))

    def assert_ends(self, leg: SocketLeg, ending: Ending, said: bytes = _LAST) -> None:
        """The leg is lost so, and all that it sent arrives at the other."""
        other = self.server if leg is self.browser else self.browser
        received = bytearray()

        def complete() -> bool:
            received.extend(self.read_at(other))
            return bool(self.losses) and len(received) >= len(said)

        self.until(complete)
        self.assertTrue(received == said, len(received))
        self.assertEqual(self.losses, [("browser" if leg is self.browser else "server", ending)])


class EngineTests(LastWordsTestCase):
    """On the engine; the subclasses repeat it elsewhere."""

    def test_a_client_that_resets(self) -> None:
        """What it sent before arrives, and it has left without a word."""
        self.client_sends_last()
        self.browser.peer_resets()
        self.assert_ends(self.browser, Ending.SERVER_LOST)

    def test_a_client_that_finishes_and_goes(self) -> None:
        """It has said its end, and then takes nothing any more: that is an end in order."""
        self.client_sends_last()
        self.browser.peer_finishes()
        self.browser.peer_resets()
        self.assert_ends(self.browser, Ending.SERVER_CLOSED)

    def test_a_client_that_closes_and_goes(self) -> None:
        """Its Close frame is read, though it takes no answer any more."""
        self.client_sends_last(ws_frame(b"\x03\xe8", _MASK, 0x88))
        self.browser.peer_resets()
        self.assert_ends(self.browser, Ending.SERVER_LOST)
        self.assertTrue(self.browser.closed)

    def test_a_server_that_resets(self) -> None:
        """Its last picture arrives, and it has broken off."""
        self.server_sends_last()
        self.server.peer_resets()
        self.assert_ends(self.server, Ending.SERVER_LOST)

    def test_a_server_that_finishes_and_goes(self) -> None:
        """Its last picture arrives, and it has closed."""
        self.server_sends_last()
        self.server.peer_finishes()
        self.server.peer_resets()
        self.assert_ends(self.server, Ending.SERVER_CLOSED)

    def test_while_the_other_side_lags(self) -> None:
        """A client that resets while it is read no further is heard when it can be again."""
        messages = 0
        while not (self.browser.is_deaf or self.browser.is_paused):
            self.browser.peer_sends_last(ws_frame(_MESSAGE, _MASK))
            messages += 1
            self.reactor.iterate(0.01)
        self.browser.peer_sends_last(ws_frame(_MESSAGE, _MASK) * 4)
        self.browser.peer_resets()
        self.browser.transport.write(b"a ping")
        for _ in range(5):
            self.reactor.iterate(0.01)
        self.assertEqual(self.losses, [])
        self.assert_ends(self.browser, Ending.SERVER_LOST, _MESSAGE * (messages + 4))

    def test_a_server_that_finishes_while_it_reads_nothing(self) -> None:
        """Its end is met though the client had to wait for it, and nothing keeps it open."""
        while not (self.browser.is_deaf or self.browser.is_paused):
            self.browser.peer_sends_last(ws_frame(_MESSAGE, _MASK))
            self.reactor.iterate(0.01)
        self.server.peer_finishes()
        self.until(lambda: self.losses or (self.server.peer_reads() and False))
        self.assertEqual(self.losses, [("server", Ending.SERVER_CLOSED)])


class PortableTests(EngineTests):
    direct = False


class EngineTlsTests(EngineTests):
    browser_leg = SecureFramedLeg

    def test_garbage_behind_what_was_sent(self) -> None:
        """What could be decrypted arrives, and then the connection has failed."""
        self.browser.peer_sends_last(ws_frame(_MESSAGE, _MASK) * 4)
        socket.socket.send(self.browser.peer, b"no record of TLS" * 4)
        self.assert_ends(self.browser, Ending.SERVER_LOST)


class EngineBothTlsTests(EngineTlsTests):
    server_leg = SecureLeg


class PortableTlsTests(EngineTlsTests):
    direct = False
    server_leg = SecureLeg


class HeardOutTests(SynchronousTestCase):
    """One connection, served when the test says so, in the test's own time."""

    def setUp(self) -> None:
        self.reactor = FdReactor()
        self.leg = self.make(tcp_pair())

    def make(self, pair: tuple[socket.socket, socket.socket] | None) -> SocketLeg:
        """Return a leg that keeps what it receives, and how it was lost."""
        leg = SocketLeg(self.reactor, False, pair)
        self.addCleanup(leg.peer.close)
        self.received = bytearray()
        self.losses: list[Ending] = []
        leg.received = self.received.extend
        leg.lost = lambda ending, _detail: self.losses.append(ending)
        return leg

    def serve(self) -> None:
        """Do what Twisted's reactor does, once, for one connection and all its events."""
        connection = self.leg.real
        if connection in self.reactor.readers:
            why = connection.doRead()
            if why is not None:
                self.reactor.readers.discard(connection)
                connection.readConnectionLost(Failure(why))
        if connection in self.reactor.writers:
            self.assertIsNone(connection.doWrite())

    def reset_behind(self, sent: bytes) -> None:
        """Let the peer send this, and reset; and let a write of ours be the first to know."""
        self.leg.peer_sends_last(sent)
        self.leg.peer_resets()
        self.leg.pause()
        self.leg.write(b"picture")
        self.serve()

    def test_it_stays_what_it_was(self) -> None:
        """Every transport of Twisted's that a session can have becomes one that is heard out."""
        for kind in (tcp.Server, tcp.Client, unix.Server, unix.Client, Connection):
            connection = kind.__new__(kind)
            hear_out(connection)
            hear_out(connection)
            self.assertIsInstance(connection, HeardOut)
            self.assertIsInstance(connection, kind)
            self.assertIs(type(connection).__mro__[1], HeardOut)
            other = kind.__new__(kind)
            hear_out(other)
            self.assertIs(type(other), type(connection))
        hear_out(StringTransport())

    def test_beneath_tls(self) -> None:
        """What is above a socket's transport stays; the transport is made one."""
        connection = Connection.__new__(Connection)
        wrapper = TLSMemoryBIOProtocol.__new__(TLSMemoryBIOProtocol)
        wrapper.transport = connection
        hear_out(wrapper)
        self.assertIs(type(wrapper), TLSMemoryBIOProtocol)
        self.assertIsInstance(connection, HeardOut)

    def test_nothing_is_written_behind_a_failed_write(self) -> None:
        """The reactor is asked for reading only, and what was sent is read in its own time."""
        self.reset_behind(b"last words")
        self.assertNotIn(self.leg.real, self.reactor.writers)
        self.leg.write(b"more")
        self.assertNotIn(self.leg.real, self.reactor.writers)
        self.assertEqual((self.received, self.losses), (b"", []))
        self.leg.resume()
        self.serve()
        self.assertEqual((self.received, self.losses), (b"last words", []))
        self.serve()
        self.assertEqual(self.losses, [Ending.SERVER_LOST])
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_one_that_nobody_takes_from(self) -> None:
        """It is waited for, but not for ever."""
        self.reset_behind(b"last words")
        self.reactor.pump([0.05] * 199)
        self.assertEqual(self.losses, [])
        self.reactor.advance(0.1)
        self.assertEqual(self.losses, [Ending.SERVER_LOST])
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_one_that_goes_on(self) -> None:
        """A peer that takes nothing and says more than a kernel can hold is heard no further."""
        self.leg = self.make(None)
        self.leg.peer.shutdown(socket.SHUT_RD)
        self.leg.write(b"picture")
        said = 0
        while not self.losses:
            said += self.leg.peer.send(bytes(1 << 16))
            self.serve()
        self.assertEqual(self.losses, [Ending.SERVER_LOST])
        self.assertGreaterEqual(said, 60 << 20)

    def test_what_is_written_meanwhile(self) -> None:
        """It is dropped, so that its source is held back no longer; but no faster than slowly."""
        source = MemoryLeg()
        self.leg.throttle_by(source)
        self.reset_behind(b"last words")
        self.leg.write(bytes(1 << 20))
        self.assertTrue(source.paused)
        self.reactor.advance(0.04)
        self.assertTrue(source.paused)
        self.reactor.advance(0.02)
        self.assertFalse(source.paused)
        self.assertEqual(unsent_bytes(self.leg.real), 0)

    def test_much_that_is_unsent(self) -> None:
        """All of it is dropped in the end, however it is held."""
        filled = self.leg.fill()
        self.leg.write(bytes(1 << 20))
        self.serve()
        self.leg.write(b"more")
        self.leg.peer_resets()
        self.leg.pause()
        self.serve()
        self.reactor.pump([0.05] * 5)
        self.assertEqual(unsent_bytes(self.leg.real), 0)
        self.assertGreater(filled, 0)

    def test_closing(self) -> None:
        """What is closed while its peer takes nothing any more is gone at once, and in order."""
        source = MemoryLeg()
        self.leg.throttle_by(source)
        self.reset_behind(b"last words")
        self.leg.write(bytes(1 << 20))
        self.leg.close(Ending.CLIENT_CLOSED, "")
        self.reactor.pump([0.05] * 3)
        self.assertEqual(self.losses, [Ending.SERVER_CLOSED])
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_aborting(self) -> None:
        """Nothing of a connection that is dropped goes on."""
        self.reset_behind(b"last words")
        self.leg.abort()
        self.reactor.advance(0)
        self.assertEqual(self.losses, [Ending.SERVER_LOST])
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_a_reactor_that_stops(self) -> None:
        """It loses connections of which the kernel has no bad news; that is believed."""
        self.leg.real.connectionLost(Failure(CONNECTION_LOST))
        self.assertEqual(self.losses, [Ending.SERVER_LOST])

    def test_reading_slowly(self) -> None:
        """One piece is read, and the next a while later."""
        self.leg.real.read_slowly()
        self.leg.peer_sends_last(bytes(200_000))
        for pieces in (1, 2, 3):
            self.serve()
            self.assertEqual(len(self.received), pieces << 16)
            self.assertNotIn(self.leg.real, self.reactor.readers)
            self.reactor.advance(0.06)
        self.assertIn(self.leg.real, self.reactor.readers)
        self.serve()
        self.leg.abort()
        self.reactor.advance(0)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_reading_slowly_what_is_paused(self) -> None:
        """Neither makes the other read sooner."""
        self.leg.real.read_slowly()
        self.leg.peer_sends_last(bytes(200_000))
        self.serve()
        self.leg.resume()
        self.assertNotIn(self.leg.real, self.reactor.readers)
        self.leg.pause()
        self.reactor.advance(0.06)
        self.assertNotIn(self.leg.real, self.reactor.readers)
        self.leg.resume()
        self.assertIn(self.leg.real, self.reactor.readers)
