"""The demo console: its handshake, its picture, and what it makes of a client's input."""

from __future__ import annotations

import datetime
import struct
import zlib

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from tests.helpers import every_split
from vncproxy.demo.pixels import PixelFormat
from vncproxy.demo.rfb_server import DemoConsole, DemoConsoleFactory
from vncproxy.demo.screen import HEIGHT, WIDTH

_HELLO = b"RFB 003.008\n\x01\x01"
_NAME = b"vncproxy demo console"
_INIT = struct.pack("!HH", WIDTH, HEIGHT) + PixelFormat().pack() + struct.pack("!I", 21) + _NAME
_FULL = struct.pack("!BBHHHH", 3, 0, 0, 0, WIDTH, HEIGHT)
_INCREMENTAL = struct.pack("!BBHHHH", 3, 1, 0, 0, WIDTH, HEIGHT)


class Transport(StringTransport):
    aborted = False

    def abortConnection(self) -> None:
        self.aborted = True


class DemoTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        start = datetime.datetime(2026, 11, 24, 12, 0, 0)
        self.factory = DemoConsoleFactory(
            self.clock, lambda: start + datetime.timedelta(seconds=self.clock.seconds())
        )
        self.transport = Transport()
        self.console: DemoConsole = self.factory.buildProtocol(None)
        self.console.makeConnection(self.transport)

    def open(self) -> None:
        self.send(_HELLO)
        self.transport.clear()

    def send(self, data: bytes) -> None:
        self.console.dataReceived(data)

    def update(self) -> tuple[tuple[int, int, int, int], bytes]:
        """Return the next update's rectangle (x, y, width, height) and its pixels."""
        self.transport.clear()
        self.clock.advance(0.05)
        answer = self.transport.value()
        kind, count, *box, encoding = struct.unpack("!BxHHHHHi", answer[:16])
        self.assertEqual((kind, count, encoding), (0, 1, 0))
        return (box[0], box[1], box[2], box[3]), answer[16:]

    def key(self, keysym: int, down: bool = True) -> None:
        self.send(struct.pack("!BBxxI", 4, down, keysym))


class HandshakeTests(DemoTestCase):
    def test_versions(self) -> None:
        """3.8 hears a result, 3.7 does not, 3.3 is told its security type."""
        heard = {
            b"RFB 003.008\n\x01\x01": b"\x01\x01" + bytes(4),
            b"RFB 003.007\n\x01\x01": b"\x01\x01",
            b"RFB 003.003\n\x01": b"\0\0\0\x01",
        }
        for sent, answer in heard.items():
            for pieces in every_split(sent):
                self.setUp()
                for piece in pieces:
                    self.send(piece)
                self.assertEqual(self.transport.value(), b"RFB 003.008\n" + answer + _INIT)

    def test_another_protocol(self) -> None:
        """What is no RFB is hung up on."""
        self.send(b"GET / HTTP/1.1\r\n")
        self.assertTrue(self.transport.aborted)


class PictureTests(DemoTestCase):
    def test_the_first_update_is_the_whole_screen(self) -> None:
        """All its pixels come, in the client's format."""
        self.open()
        self.send(_FULL)
        box, pixels = self.update()
        self.assertEqual(box, (0, 0, WIDTH, HEIGHT))
        self.assertEqual(len(pixels), WIDTH * HEIGHT * 4)
        self.assertGreater(len(set(struct.unpack(f"<{WIDTH * HEIGHT}I", pixels))), 50)

    def test_an_update_waits_for_a_change(self) -> None:
        """Nothing is sent until asked, nor until something is new: here, the second."""
        self.open()
        self.clock.advance(0.1)
        self.assertEqual(self.transport.value(), b"")
        self.send(_FULL)
        self.update()
        self.send(_INCREMENTAL)
        self.transport.clear()
        self.clock.advance(0.2)
        self.assertEqual(self.transport.value(), b"")
        self.clock.advance(1)
        (x, y, width, height), pixels = self.update_of(self.transport.value())
        self.assertLess(width * height, WIDTH * HEIGHT / 4)
        self.assertEqual(len(pixels), width * height * 4)
        self.assertLess(y + height, 300)
        self.assertGreater(x, 40)

    def update_of(self, answer: bytes) -> tuple[tuple[int, int, int, int], bytes]:
        x, y, width, height = struct.unpack("!HHHH", answer[4:12])
        return (x, y, width, height), answer[16:]

    def settle(self) -> None:
        self.open()
        self.send(_FULL)
        self.update()
        self.send(_INCREMENTAL)

    def test_typing(self) -> None:
        """What is typed changes the keyboard's panel, and Backspace takes it back."""
        self.settle()
        for character in "Hi":
            self.key(ord(character))
        (_, y, _, height), _ = self.update()
        self.assertGreaterEqual(y, 332)
        self.assertLessEqual(y + height, 592)
        self.assertEqual(self.console._screen.line, "Hi")
        self.key(0xFF08)
        self.assertEqual(self.console._screen.line, "H")
        self.key(0xFF0D)
        self.assertEqual(self.console._screen.line, "")

    def test_the_pointer(self) -> None:
        """A moved pointer leaves its trail where it was, which fades."""
        self.settle()
        self.send(struct.pack("!BBHH", 5, 1, 700, 100))
        (x, y, width, height), _ = self.update()
        self.assertTrue(x <= 700 < x + width and y <= 100 < y + height)

    def test_copying_in_the_demo(self) -> None:
        """Ctrl+C sends the typed line as ServerCutText."""
        self.settle()
        for character in "café":
            self.key(ord(character))
        self.key(0xFFE3)
        self.transport.clear()
        self.key(ord("c"))
        self.assertEqual(self.transport.value(), b"\x03\0\0\0\0\0\0\x04caf\xe9")

    def test_a_paused_client_gets_nothing(self) -> None:
        """While the transport is full no update is queued."""
        self.settle()
        self.console.pauseProducing()
        self.key(ord("a"))
        self.transport.clear()
        self.clock.advance(0.1)
        self.assertEqual(self.transport.value(), b"")
        self.console.resumeProducing()
        self.update()

    def test_zlib(self) -> None:
        """A client that knows Zlib gets it, in one stream over all updates."""
        self.open()
        self.send(struct.pack("!BxHii", 2, 2, 6, 0))
        inflate = zlib.decompressobj()
        for request, number in ((_FULL, 1), (_INCREMENTAL, 2)):
            self.send(request)
            self.transport.clear()
            self.clock.advance(1.1)
            answer = self.transport.value()
            width, height, encoding, length = struct.unpack("!HHiI", answer[8:20])
            self.assertEqual((encoding, len(answer)), (6, 20 + length), number)
            self.assertEqual(len(inflate.decompress(answer[20:])), width * height * 4)

    def test_the_clock_stops_with_the_client(self) -> None:
        """A console whose client has gone leaves nothing in the reactor."""
        from twisted.internet.error import ConnectionDone
        from twisted.python.failure import Failure

        self.settle()
        self.console.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(self.clock.getDelayedCalls(), [])


class InputTests(DemoTestCase):
    def test_a_huge_clipboard_is_skipped(self) -> None:
        """What is too long is passed over, and the stream stays in step."""
        self.open()
        size = 300_000
        self.send(b"\x06\0\0\0" + struct.pack("!I", size) + b"x" * (size - 7) + b"y" * 7)
        self.key(ord("z"))
        self.assertEqual(self.console._screen.line, "z")
        self.assertFalse(self.transport.aborted)

    def test_an_unknown_message(self) -> None:
        """A message whose length nobody knows ends the connection."""
        self.open()
        self.send(b"\xc8")
        self.assertTrue(self.transport.aborted)

    def test_a_format_without_colours(self) -> None:
        """A palette is not supported."""
        self.open()
        self.send(b"\0\0\0\0" + b"\x08\x08\0\0" + bytes(12))
        self.assertTrue(self.transport.aborted)

    @settings(max_examples=100)
    @given(st.binary(max_size=200))
    def test_anything(self, data: bytes) -> None:
        """No bytes raise."""
        self.setUp()
        self.open()
        self.send(data)
        self.console.connectionLost()
