"""The demo console's server: RFB 3.8, 3.7 and 3.3 with security type None (RFC 6143)."""

from __future__ import annotations

import datetime
import struct
import zlib
from collections.abc import Callable

from twisted.internet.interfaces import IAddress, IPushProducer, IReactorTime
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure
from typing_extensions import override
from zope.interface import implementer

from vncproxy.demo.pixels import PixelFormat
from vncproxy.demo.screen import HEIGHT, WIDTH, Box, Screen
from vncproxy.interfaces import IStreamTransport
from vncproxy.rfb.messages import RESULT_OK, VERSION_BYTES, Version, version_of
from vncproxy.rfb.reader import ByteReader, Steps

_FRAME_S = 1 / 25
_NAME = b"vncproxy demo console"
_RAW, _ZLIB = 0, 6
_LONGEST_CLIPBOARD = 64 * 1024
_SKIP = 16 * 1024


class _Unknown(Exception):
    """The client sent something that this server does not understand."""


@implementer(IPushProducer)
class DemoConsole(Protocol):
    """One client's console.

    Args:
        clock: paces the updates.
        screen: what the client sees.
    """

    _log = Logger()
    transport: IStreamTransport

    def __init__(self, clock: IReactorTime, screen: Screen) -> None:
        self._screen = screen
        self._reader = ByteReader()
        self._steps = self._converse()
        self._format = PixelFormat()
        self._deflate: zlib._Compress | None = None
        self._asked = False
        self._owed: Box | None = (0, 0, WIDTH, HEIGHT)
        self._paused = False
        self._frames = LoopingCall(self._show)
        self._frames.clock = clock

    @override
    def connectionMade(self) -> None:
        self.transport.registerProducer(self, True)
        next(self._steps)

    @override
    def dataReceived(self, data: bytes) -> None:
        self._reader.add(data)
        try:
            next(self._steps)
        except (StopIteration, _Unknown, ValueError) as error:
            self._log.info("the demo console's client is not understood: {error}", error=error)
            self.transport.abortConnection()

    @override
    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._frames.running:
            self._frames.stop()

    def pauseProducing(self) -> None:
        """Send no more updates for now."""
        self._paused = True

    def resumeProducing(self) -> None:
        """Send updates again."""
        self._paused = False

    def stopProducing(self) -> None:
        """Send nothing more: the connection is gone."""
        self._paused = True

    def _converse(self) -> Steps[None]:
        """Do the handshake (§7.1 to §7.3), then take messages (§7.5) for ever."""
        self.transport.write(Version.V3_8.message)
        version = version_of((yield from self._reader.exactly(VERSION_BYTES)))
        if version is None:
            raise _Unknown("no RFB version")
        if version is Version.V3_3:
            self.transport.write(struct.pack("!I", 1))
        else:
            self.transport.write(b"\x01\x01")
            yield from self._reader.exactly(1)
            if version is Version.V3_8:
                self.transport.write(RESULT_OK)
        yield from self._reader.exactly(1)  # ClientInit; the console is always shared
        size = struct.pack("!HH", WIDTH, HEIGHT)
        name = struct.pack("!I", len(_NAME)) + _NAME
        self.transport.write(size + self._format.pack() + name)
        self._frames.start(_FRAME_S, now=False)
        while True:
            yield from self._take_message()

    def _take_message(self) -> Steps[None]:
        (kind,) = yield from self._reader.exactly(1)
        match kind:
            case 0:
                data = yield from self._reader.exactly(19)
                self._format = PixelFormat.unpack(data[3:])
            case 2:
                yield from self._take_encodings()
            case 3:
                (incremental,) = struct.unpack("!B8x", (yield from self._reader.exactly(9)))
                self._asked = True
                if not incremental:
                    self._owed = (0, 0, WIDTH, HEIGHT)
            case 4:
                down, keysym = struct.unpack("!B2xI", (yield from self._reader.exactly(7)))
                self._take_key(keysym, bool(down))
            case 5:
                buttons, x, y = struct.unpack("!BHH", (yield from self._reader.exactly(5)))
                self._screen.pointer(x, y, buttons)
            case 6:
                yield from self._take_clipboard()
            case _:
                raise _Unknown(f"message type {kind}")

    def _take_encodings(self) -> Steps[None]:
        (count,) = struct.unpack("!xH", (yield from self._reader.exactly(3)))
        encodings = struct.unpack(f"!{count}i", (yield from self._reader.exactly(4 * count)))
        if _ZLIB in encodings and self._deflate is None:
            self._deflate = zlib.compressobj(level=1)

    def _take_clipboard(self) -> Steps[None]:
        (length,) = struct.unpack("!3xI", (yield from self._reader.exactly(7)))
        kept = yield from self._reader.exactly(min(length, _LONGEST_CLIPBOARD))
        rest = length - len(kept)
        while rest > 0:
            rest -= len((yield from self._reader.exactly(min(rest, _SKIP))))
        self._screen.clipboard(kept.decode("latin-1"))

    def _take_key(self, keysym: int, down: bool) -> None:
        if down and self._screen.control_held and keysym in (ord("c"), ord("C")):
            text = self._screen.line.encode("latin-1", "replace")
            self.transport.write(b"\x03\0\0\0" + struct.pack("!I", len(text)) + text)
        self._screen.key(keysym, down)

    def _show(self) -> None:
        """Send what has changed, if the client has asked and takes it."""
        if not self._asked or self._paused:
            return
        changed = _union(self._owed, self._screen.redraw())
        if changed is None:
            return
        self._owed, self._asked = None, False
        left, top, right, bottom = changed
        pixels = self._format.encode(self._screen.image.crop(changed))
        encoding = _RAW
        if self._deflate is not None:
            encoding = _ZLIB
            packed = self._deflate.compress(pixels) + self._deflate.flush(zlib.Z_SYNC_FLUSH)
            pixels = struct.pack("!I", len(packed)) + packed
        where = struct.pack("!HHHHi", left, top, right - left, bottom - top, encoding)
        self.transport.write(b"\0\0\0\x01" + where + pixels)


def _union(one: Box | None, other: Box | None) -> Box | None:
    if one is None or other is None:
        return one or other
    return (
        min(one[0], other[0]),
        min(one[1], other[1]),
        max(one[2], other[2]),
        max(one[3], other[3]),
    )


class DemoConsoleFactory(Factory[DemoConsole]):
    """Makes a console with a screen of its own for each client.

    Args:
        clock: paces updates.
        now: the time of day that the consoles show.
    """

    noisy = False

    def __init__(self, clock: IReactorTime, now: Callable[[], datetime.datetime]) -> None:
        self._clock = clock
        self._now = now

    @override
    def buildProtocol(self, addr: IAddress | None) -> DemoConsole:
        return DemoConsole(self._clock, Screen(self._now, self._clock.seconds))
