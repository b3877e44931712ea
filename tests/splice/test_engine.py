"""The engine on real sockets, one turn at a time."""

from __future__ import annotations

import socket

from twisted.internet.interfaces import IReadDescriptor
from twisted.internet.main import CONNECTION_DONE
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from tests.helpers import ws_frame
from tests.splice.sockets import FdReactor, SocketLeg, tcp_pair
from vncproxy.model import Ending, SessionFacts
from vncproxy.splice.engine import Engine

_MASK = b"abcd"


class Nobody:
    """A tap that minds nothing."""

    def from_server(self, data: bytes) -> None:
        pass

    def from_client(self, data: bytes) -> bytes:
        return data


class EngineTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor = FdReactor()
        self.engine = Engine(self.reactor)  # type: ignore[arg-type]  # a Clock and an FDSet
        self.losses: list[tuple[str, Ending]] = []
        self.browser, self.server, self.facts = self.join()

    def join(self) -> tuple[SocketLeg, SocketLeg, SessionFacts]:
        """Open one more session, whose sockets the engine has when this returns."""
        browser, server = SocketLeg(self.reactor, True), SocketLeg(self.reactor, False)
        for name, leg in (("browser", browser), ("server", server)):
            self.addCleanup(leg.peer.close)
            leg.lost = lambda ending, _detail, name=name: self.losses.append(  # type: ignore[misc]
                (name, ending)
            )
        facts = SessionFacts("req-1", "192.0.2.1", 0.0)
        self.splice = self.engine.splice(browser, server, facts)
        self.splice.start(b"", b"")
        self.reactor.advance(0)
        return browser, server, facts

    def turn(self, times: int = 1) -> None:
        """Let the engine serve what is ready."""
        for _ in range(times):
            self.engine.doRead()


class StreamTests(EngineTestCase):
    def test_the_reactor_watches_one_descriptor(self) -> None:
        """Of the sessions' sockets none is left in the reactor, while there are sessions."""
        self.join()
        self.assertEqual(self.reactor.readers, {self.engine})
        verifyObject(IReadDescriptor, self.engine)

    def test_to_the_client(self) -> None:
        """Each piece of the server's stream becomes a frame."""
        for length in (1, 200, 70_000):
            self.server.peer.send(bytes(length))
            self.turn()
            self.assertEqual(self.browser.peer_reads(), ws_frame(bytes(length), None))
        self.assertEqual(self.facts.bytes_to_client, 70_201)

    def test_to_the_server(self) -> None:
        """The client's frames are unmasked, and go on as one piece."""
        self.browser.peer.send(ws_frame(b"key, ", _MASK) + ws_frame(b"pointer", _MASK))
        self.turn()
        self.assertEqual(self.server.peer_reads(), b"key, pointer")
        self.assertEqual(self.facts.bytes_to_server, 12)
        self.assertEqual(self.browser.fed, [])
        self.assertEqual(self.browser.life_signs, 1)

    def test_a_frame_in_pieces(self) -> None:
        """Half a frame waits for its other half, and is a sign of life."""
        wire = ws_frame(b"key", _MASK)
        for byte in wire:
            self.assertEqual(self.server.peer_reads(), b"")
            self.browser.peer.send(bytes([byte]))
            self.turn()
        self.assertEqual(self.server.peer_reads(), b"key")
        self.assertEqual(self.browser.fed, [])

    def test_other_frames(self) -> None:
        """What is no common frame goes to the protocol, until that is between two frames again."""
        ping = ws_frame(b"?", _MASK, 0x89)
        self.browser.peer.send(ws_frame(b"key", _MASK) + ping + ws_frame(b"later", _MASK))
        self.browser.between_frames = False
        self.turn()
        self.assertEqual(self.server.peer_reads(), b"key")
        self.assertEqual(self.browser.fed, [ping + ws_frame(b"later", _MASK)])
        self.browser.between_frames = True
        self.browser.peer.send(b"rest")
        self.turn()
        self.assertEqual(self.browser.fed[1:], [b"rest"])
        self.browser.peer.send(ws_frame(b"fast again", _MASK))
        self.turn()
        self.assertEqual(self.server.peer_reads(), b"fast again")

    def test_what_the_protocol_receives(self) -> None:
        """A message that the protocol made of its frames goes on like any other."""
        self.browser.received(b"a message of fragments")
        self.assertEqual(self.server.peer_reads(), b"a message of fragments")
        self.assertEqual(self.facts.bytes_to_server, 22)


class BackPressureTests(EngineTestCase):
    def test_a_client_that_does_not_read(self) -> None:
        """Its server is read no further; what the protocol writes waits behind what is there."""
        filled = self.browser.fill()
        self.server.peer.send(b"picture")
        self.turn()
        self.browser.transport.write(b"a pong")
        self.server.peer.send(b" and more")
        self.turn(3)
        self.assertEqual(self.facts.bytes_to_client, 7)
        self.assertEqual(self.browser.peer_reads(), bytes(filled))
        self.turn(3)
        expected = ws_frame(b"picture", None) + b"a pong" + ws_frame(b" and more", None)
        self.assertEqual(self.browser.peer_reads(), expected)

    def test_who_lagged_once_is_read_in_long_pieces_again(self) -> None:
        """While the client lags its server is read in short pieces, which bound what is kept."""
        filled = self.browser.fill()
        self.server.peer.send(b"picture")
        self.turn()
        self.browser.peer_reads()
        for _ in range(3):
            self.server.peer.send(bytes(120_000))
            self.turn(3)
            self.browser.peer_reads()
        self.server.peer.send(bytes(120_000))
        self.turn()
        self.assertEqual(self.browser.peer_reads(), ws_frame(bytes(120_000), None))
        self.assertGreater(filled, 0)

    def test_a_server_that_does_not_read(self) -> None:
        """Its client is read no further, and is not expected to answer pings."""
        self.server.fill()
        self.browser.peer.send(ws_frame(b"paste", _MASK))
        self.turn()
        self.assertTrue(self.browser.is_deaf)
        self.browser.peer.send(ws_frame(b", more", _MASK))
        self.turn(3)
        self.assertEqual(self.facts.bytes_to_server, 5)
        self.server.peer_reads()
        self.turn(3)
        self.assertFalse(self.browser.is_deaf)
        self.assertEqual(self.server.peer_reads(), b"paste, more")

    def test_a_break_while_nothing_is_read(self) -> None:
        """A connection that breaks while it waits is found out at once, not polled for ever."""
        self.server.fill()
        self.browser.peer.send(ws_frame(b"paste", _MASK))
        self.turn()
        self.browser.peer.close()
        self.turn()
        self.assertNotIn(self.engine, self.reactor.readers)
        self.assertEqual(self.browser.real.doRead(), CONNECTION_DONE)


class EndTests(EngineTestCase):
    def test_an_end_is_met_by_the_transport(self) -> None:
        """When one side ends both sockets are the reactor's again, with nothing lost."""
        self.browser.fill()
        self.server.peer.send(b"last words")
        self.turn()
        self.server.peer.shutdown(socket.SHUT_WR)
        self.browser.peer_reads()
        self.turn(2)
        browser, server = self.browser.real, self.server.real
        self.assertEqual(self.reactor.readers, {browser, server})
        self.assertEqual(self.losses, [])
        self.assertIsNotNone(server.doRead())
        browser.doWrite()
        self.assertEqual(self.browser.peer_reads(), ws_frame(b"last words", None))

    def test_what_is_asked_of_the_transport(self) -> None:
        """Anything but a write is asked of the real transport, which has its socket back."""
        self.browser.peer.send(ws_frame(b"half a frame", _MASK)[:9])
        self.turn()
        self.browser.transport.loseConnection()
        self.assertTrue(self.browser.real.disconnecting)
        self.assertEqual(self.browser.fed, [ws_frame(b"half a frame", _MASK)[:9]])
        self.assertIs(self.browser.transport, self.browser.real)
        self.assertNotIn(self.engine, self.reactor.readers)

    def test_stop(self) -> None:
        """A session that ends has its sockets back, and never loses them again."""
        self.splice.stop()
        self.splice.stop()
        self.assertEqual(self.reactor.readers, {self.browser.real, self.server.real})
        self.browser.received(b"slow way")
        self.assertIn(self.server.real, self.reactor.writers)

    def test_a_session_that_ends_before_it_was_borrowed(self) -> None:
        """Stopped in the turn of its start, it never comes to the engine."""
        browser, server = SocketLeg(self.reactor, True), SocketLeg(self.reactor, False)
        splice = self.engine.splice(browser, server, self.facts)
        splice.start(b"", b"")
        splice.stop()
        self.reactor.advance(0)
        self.assertIn(browser.real, self.reactor.readers)

    def test_a_server_that_fails_between_two_halves_of_a_frame(self) -> None:
        """What of the frame was used already is not given to the protocol again."""
        wire = ws_frame(b"key", _MASK)
        self.browser.peer.send(wire[:5])
        self.turn()
        self.browser.peer.send(wire[5:])
        self.server.peer.close()
        self.turn()
        self.assertNotIn(self.engine, self.reactor.readers)
        self.assertEqual(self.server.real.doRead(), CONNECTION_DONE)
        self.assertEqual(self.browser.fed, [])

    def test_a_tap(self) -> None:
        """A session that somebody looks at stays on the portable path; others don't notice."""
        browser, server = SocketLeg(self.reactor, True), SocketLeg(self.reactor, False)
        self.engine.splice(browser, server, self.facts, Nobody()).start(b"", b"")
        self.reactor.advance(0)
        self.assertEqual(self.reactor.readers, {self.engine, browser.real, server.real})

    def test_a_reset(self) -> None:
        """A failed connection is one that was lost, not closed."""
        leg = SocketLeg(self.reactor, False, tcp_pair())
        leg.lost = lambda ending, _detail: self.losses.append(("server", ending))
        splice = self.engine.splice(SocketLeg(self.reactor, True), leg, self.facts)
        splice.start(b"", b"")
        self.reactor.advance(0)
        leg.peer_resets()
        self.turn()
        self.assertEqual(self.losses, [("server", Ending.SERVER_LOST)])


class IsolationTests(EngineTestCase):
    def test_a_fault_of_ours_ends_one_session(self) -> None:
        """Whatever goes wrong in one session, the others go on in the same turn."""
        other_browser, other_server, _ = self.join()

        def broken(_data: bytes) -> None:
            raise ZeroDivisionError

        self.browser.feed = broken  # type: ignore[assignment,method-assign]
        self.browser.peer.send(ws_frame(b"", _MASK, 0x89))
        other_browser.peer.send(ws_frame(b"key", _MASK))
        self.turn()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(self.losses, [("browser", Ending.SERVER_LOST)])
        self.assertEqual(other_server.peer_reads(), b"key")

    def test_a_turn_is_bounded(self) -> None:
        """A flood of one session is one read a turn, so that the others and the reactor breathe."""
        self.engine.long_room = self.engine.long_room[:4000]
        browser, server, facts = self.join()
        server.peer.send(bytes(10_000))
        self.server.peer.send(b"!")
        self.turn()
        self.assertLess(facts.bytes_to_client, 4096)
        self.assertEqual(self.browser.peer_reads(), ws_frame(b"!", None))
        self.turn(2)
        self.assertEqual(facts.bytes_to_client, 10_000)
        self.assertTrue(browser.peer_reads())
