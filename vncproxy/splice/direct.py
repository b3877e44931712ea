"""A session whose two sockets the engine serves, until something out of the ordinary happens."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Protocol

from OpenSSL import SSL
from twisted.logger import Logger
from typing_extensions import override

from vncproxy.interfaces import FrameOwner, Leg
from vncproxy.model import SessionFacts
from vncproxy.splice.frames import (
    HEADER_ROOM,
    LONGEST_COMMON,
    put_header,
    take_common,
    take_only,
)
from vncproxy.splice.portable import Splice
from vncproxy.splice.wire import Wire, wire_of

READABLE, _WRITE, _BROKEN = 0x001, 0x004, 0x008 | 0x010  # epoll's IN, OUT, ERR and HUP


class Loop(Protocol):
    """The engine, as its sessions see it.

    Attributes:
        buffer: shared by all sessions; nothing is kept in it between two calls.
        view: of the buffer.
        long_room: of the buffer, what may be read behind the room for a frame's header.
        short_room: the same, for a server whose client does not keep up.
        cipher_text: shared likewise, by those that speak TLS.
    """

    buffer: bytearray
    view: memoryview
    long_room: memoryview
    short_room: memoryview
    cipher_text: memoryview

    def later(self, call: Callable[[], None]) -> None:
        """Call something in the reactor's next turn, when nobody is in the middle of a read."""

    def watch(self, end: End, events: int) -> None:
        """Begin to serve a socket."""

    def rewatch(self, end: End, events: int) -> None:
        """Wait for other events of a socket from now on."""

    def unwatch(self, end: End) -> None:
        """Serve a socket no longer."""


class DirectSplice(Splice):
    """A splice that begins as a portable one, and whose sockets the engine borrows at once.

    Args:
        loop: the engine.
        browser: the client's leg.
        server: the console's leg.
        owner: of the WebSocket on the browser's transport.
        facts: its byte counters are kept here.
    """

    _log = Logger()

    def __init__(
        self, loop: Loop, browser: Leg, server: Leg, owner: FrameOwner, facts: SessionFacts
    ) -> None:
        super().__init__(browser, server, facts)
        self.loop = loop
        self.owner = owner
        self.facts = facts
        self._transport = browser.transport
        self._stopped = False
        self._ends: tuple[BrowserEnd, ServerEnd] | None = None

    @override
    def start(self, for_browser: bytes, for_server: bytes) -> None:
        super().start(for_browser, for_server)
        self.loop.later(self._borrow)

    @override
    def stop(self) -> None:
        self._stopped = True
        self.release()

    @property
    @override
    def buffered_bytes(self) -> int:
        if self._ends is None:
            return super().buffered_bytes
        return sum(len(end.wire.unsent) for end in self._ends)

    @property
    def borrowed(self) -> bool:
        """Whether the engine has the sockets."""
        return self._ends is not None

    def _borrow(self) -> None:
        """Take both sockets from the reactor; where that can't be, all stays as it is."""
        if self._stopped:
            return
        browser = wire_of(self._transport, self.loop.cipher_text)
        server = wire_of(self._server.transport, self.loop.cipher_text)
        if browser is None or server is None or not browser.borrow():
            self._log.debug("{request_id} takes the portable path", request_id=self.request_id)
            return
        if not server.borrow():
            browser.give_back()
            browser.send_rest()
            return
        ends = BrowserEnd(self, browser), ServerEnd(self, server)
        ends[0].join(ends[1])
        ends[1].join(ends[0])
        self._ends = ends
        for end in ends:
            self.loop.watch(end, end.events)
        self._browser.received = ends[0].pass_on
        self.owner.reroute(_Detour(self, browser, self._transport))
        self.rewatch()

    def release(self) -> None:
        """Give both sockets back to their transports, if the engine has them."""
        if self._ends is None:
            return
        ends, self._ends = self._ends, None
        for end in ends:
            self.loop.unwatch(end)
        self.owner.reroute(self._transport)
        self.owner.deaf(False)
        self._browser.received = self._to_server
        if ends[0].partial:
            self.owner.feed(bytes(ends[0].partial))
        for end in ends:
            end.wire.give_back()
        for end in ends:
            end.wire.send_rest()

    def rewatch(self) -> None:
        """Read from each side only while the other takes what it gets."""
        if self._ends is None:
            return
        browser, server = self._ends
        browser_lags, server_lags = bool(browser.wire.unsent), bool(server.wire.unsent)
        browser.await_events(READABLE * (not server_lags) | _WRITE * browser_lags)
        server.await_events(READABLE * (not browser_lags) | _WRITE * server_lags)
        self.owner.deaf(server_lags)

    @property
    def request_id(self) -> str:
        """The session's name in the log."""
        return self.facts.request_id


class End(ABC):
    """One of the two sockets.

    What each byte passes is written out in ``read`` and ``pass_on``, with few calls: in Python a
    call costs as much as half a system call.

    Attributes:
        wire: the socket.
        events: that the engine waits for.
        other: what is read from here goes there.
    """

    __slots__ = (
        "_facts",
        "_loop",
        "_push",
        "_receive",
        "_splice",
        "_to",
        "events",
        "other",
        "wire",
    )
    other: End
    _to: Wire
    _push: Callable[[memoryview | bytes], int]

    def __init__(self, splice: DirectSplice, wire: Wire) -> None:
        self._splice = splice
        self._loop = splice.loop
        self._facts = splice.facts
        self._receive = wire.receive_into
        self.wire = wire
        self.events = READABLE

    def join(self, other: End) -> None:
        """Send there what is read here."""
        self.other = other
        self._to = other.wire
        self._push = other.wire.push

    def await_events(self, events: int) -> None:
        """Wait for these events from now on."""
        if events != self.events:
            self.events = events
            self._loop.rewatch(self, events)

    def serve(self, events: int) -> None:
        """Do what can be done now.

        Raises:
            OSError, SSL.Error: this end has failed.
        """
        if events & _WRITE:
            self.wire.flush()
            if not self.wire.unsent:
                self._splice.rewatch()
        if events & READABLE:
            self.read()
        elif events & _BROKEN:
            raise ConnectionResetError("the connection broke")

    @abstractmethod
    def read(self) -> None:
        """Pass on what has arrived.

        Raises:
            OSError, SSL.Error: this end has failed.
        """

    def _pass_on(self, data: memoryview | bytes) -> None:
        """Send bytes to the other side; this one is read no further until they are taken."""
        try:
            sent = self._push(data)
        except BlockingIOError:
            sent = 0
        except (OSError, SSL.Error) as error:
            self.other.fail(error)
            return
        if sent != len(data):
            self._to.unsent += data[sent:]
        if self._to.unsent:
            self._splice.rewatch()

    def fail(self, error: Exception) -> None:
        """End the connection, which has failed."""
        if self._splice.borrowed:
            self._splice.release()
            self.wire.break_off(error)

    @property
    def request_id(self) -> str:
        """The session's name in the log."""
        return self._splice.request_id


class ServerEnd(End):
    """The console's socket: what comes from it is framed for the browser."""

    __slots__ = ("_room",)

    def __init__(self, splice: DirectSplice, wire: Wire) -> None:
        super().__init__(splice, wire)
        self._room = splice.loop.long_room

    @override
    def read(self) -> None:
        if self._to.unsent:
            return  # this event is from before the other side began to lag
        try:
            count = self._receive(self._room)
        except BlockingIOError:
            return
        if count:
            loop = self._loop
            self._facts.bytes_to_client += count
            start = put_header(loop.buffer, count)
            self._pass_on(loop.view[start : HEADER_ROOM + count])
            if self._to.unsent:
                self._room = loop.short_room
            elif count == len(self._room):
                self._room = loop.long_room
        if not count or self.wire.at_end:
            self._splice.release()  # the transport meets the end by itself


class BrowserEnd(End):
    """The browser's socket: what comes from it are frames.

    Attributes:
        partial: the beginning of a common frame whose end has not arrived.
    """

    __slots__ = ("_between_frames", "_heard", "_longest", "partial")

    def __init__(self, splice: DirectSplice, wire: Wire) -> None:
        super().__init__(splice, wire)
        self.partial = b""
        self._heard = splice.owner.heard
        self._between_frames = splice.owner.between_frames
        self._longest = min(LONGEST_COMMON, splice.owner.longest_frame)

    @override
    def read(self) -> None:
        if self._to.unsent:
            return  # this event is from before the other side began to lag
        loop = self._loop
        held = len(self.partial)
        if held:
            loop.view[:held] = self.partial
        try:
            count = self._receive(loop.view[held:] if held else loop.view)
        except BlockingIOError:
            return
        if count:
            self.partial = b""  # it is in the buffer, and must not be given back as well
            self._heard()
            payload = None
            if self._between_frames and not held and count > 1:
                payload = take_only(loop.buffer, count)
            if payload is None:
                self._take(loop.buffer, held + count)
            elif payload:
                self.pass_on(payload)
        if not count or self.wire.at_end:
            self._splice.release()  # the transport meets the end by itself

    def _take(self, buffer: bytearray, end: int) -> None:
        taken, partial = 0, False
        if self._between_frames:
            payload, taken, partial = take_common(buffer, end, self._longest)
            if payload:
                self.pass_on(payload)
        if taken == end:
            return
        rest = bytes(buffer[taken:end])
        if partial and self._splice.borrowed:
            self.partial = rest
        else:
            self._splice.owner.feed(rest)
            self._between_frames = self._splice.owner.between_frames

    def pass_on(self, payload: bytes) -> None:
        """Send to the server what was in a client's frame."""
        self._facts.bytes_to_server += len(payload)
        if self._to.unsent:
            self._to.send(payload)
        else:
            self._pass_on(payload)


class _Detour:
    """Stands in for the browser's transport, while the engine has its socket.

    What the protocol writes keeps its place among the frames; anything else that is asked of a
    transport is asked of the real one, which has its socket back by then.
    """

    def __init__(self, splice: DirectSplice, wire: Wire, transport: object) -> None:
        self._splice = splice
        self._wire = wire
        self._transport = transport

    def write(self, data: bytes) -> None:
        """Send a frame of the protocol's own."""
        try:
            self._wire.send(data)
        except (OSError, SSL.Error):
            return  # the socket has failed, and its next event will say so
        if self._wire.unsent:
            self._splice.rewatch()

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        self._splice.release()
        return getattr(self._transport, name)
