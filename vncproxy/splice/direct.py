"""A session whose two sockets the engine serves, until something out of the ordinary happens."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Protocol

from OpenSSL import SSL
from twisted.logger import Logger
from typing_extensions import override

from vncproxy.interfaces import FrameOwner, Leg
from vncproxy.limits.turns import Turns
from vncproxy.model import SessionFacts
from vncproxy.splice.detour import Detour
from vncproxy.splice.frames import (
    HEADER_ROOM,
    LONGEST_COMMON,
    Rest,
    put_header,
    take_common,
    take_only,
)
from vncproxy.splice.last_words import HUNG_UP
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
        turns: for clients that have sent more frames than are taken at once.
    """

    buffer: bytearray
    view: memoryview
    long_room: memoryview
    short_room: memoryview
    cipher_text: memoryview
    turns: Turns

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
        self._held = False
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
        self.owner.reroute(Detour(self, ends[0], self._transport))
        self.rewatch()

    def release(self) -> None:
        """Give both sockets back to their transports, if the engine has them."""
        if self._ends is None:
            return
        ends, self._ends = self._ends, None
        for end in ends:
            self.loop.unwatch(end)
            end.wire.give_back()
        self.owner.reroute(self._transport)
        self.owner.deaf(False)
        self._browser.received = self._to_server
        for end in ends:
            end.wire.send_rest()
        if ends[0].partial:  # there may be frames in it that the owner answers, behind the rest
            self.owner.feed(ends[0].partial)

    def hold(self, held: bool) -> None:
        """Read the browser no further, or again, as its owner wishes."""
        self._held = held
        if self._ends is not None:
            self._ends[0].resume_frames()
            self.rewatch()

    def rewatch(self) -> None:
        """Read from each side only while the other takes what it gets."""
        if self._ends is None:
            return
        browser, server = self._ends
        browser_lags, server_lags = bool(browser.wire.unsent), bool(server.wire.unsent)
        read_browser = not (server_lags or self._held or browser.waits)
        browser.await_events(READABLE * read_browser | _WRITE * browser_lags)
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
        """Do what can be done now; raises what ``read`` does."""
        if events & _WRITE:
            try:
                self.wire.flush()
            except OSError as error:
                self.write_no_more(error)
                return
            if not self.wire.unsent:
                self._splice.rewatch()
        if events & READABLE:
            self.read()
        elif events & _BROKEN:
            self.write_no_more(HUNG_UP)

    @abstractmethod
    def read(self) -> None:
        """Pass on what has arrived.

        Raises:
            OSError, SSL.Error: there is nothing more to be read here.
        """

    def _pass_on(self, data: memoryview | bytes) -> None:
        """Send bytes to the other side; this one is read no further until they are taken."""
        try:
            sent = self._push(data)
        except BlockingIOError:
            sent = 0
        except (OSError, SSL.Error) as error:
            self.other.write_no_more(error)
            return
        if sent != len(data):
            self._to.unsent += data[sent:]
        if self._to.unsent:
            self._splice.rewatch()

    def send(self, data: bytes) -> None:
        """Send bytes here, behind those that are unsent."""
        try:
            self.wire.send(data)
        except (OSError, SSL.Error) as error:
            self.write_no_more(error)
        else:
            self._splice.rewatch()

    def write_no_more(self, error: Exception) -> None:
        """Leave it to the transports to hear a peer out that takes nothing any more."""
        if self._splice.borrowed:
            self.wire.write_no_more(error)
            self._splice.release()

    def fail(self, error: Exception) -> None:
        """End the connection, of which nothing more can be read."""
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
        partial: what was read and not taken: the beginning of a common frame whose end has not
            arrived, or all that stands behind as many frames as are taken at once.
        waits: whether the rest waits for its turn, and nothing is read until then.
    """

    __slots__ = ("_between_frames", "_heard", "_longest", "partial", "waits")

    def __init__(self, splice: DirectSplice, wire: Wire) -> None:
        super().__init__(splice, wire)
        self.partial = b""
        self.waits = False
        self._heard = splice.owner.heard
        self._longest = min(LONGEST_COMMON, splice.owner.longest_frame)
        self.resume_frames()

    def resume_frames(self) -> None:
        """See whether the owner has done with its frames."""
        self._between_frames = self._splice.owner.between_frames

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
            if payload:
                self.pass_on(payload)
            else:
                self._take(loop.buffer, held + count)
        if not count or self.wire.at_end:
            self._splice.release()  # the transport meets the end by itself

    def _take(self, buffer: bytearray, end: int) -> None:
        taken, behind = 0, Rest.OTHER
        if self._between_frames:
            payload, taken, behind = take_common(buffer, end, self._longest)
            if payload:
                self.pass_on(payload)
        if taken == end:
            return
        rest = bytes(buffer[taken:end])
        if behind is Rest.OTHER or not self._splice.borrowed:
            self._splice.owner.feed(rest)
            self.resume_frames()
            return
        self.partial = rest
        if behind is Rest.MORE:
            self.waits = True
            self._splice.rewatch()
            self._loop.turns.wait(self._take_more)

    def _take_more(self) -> None:
        if not self._splice.borrowed:
            return  # the owner was given the rest
        self.waits = False
        rest, self.partial = self.partial, b""
        self._loop.view[: len(rest)] = rest
        self._take(self._loop.buffer, len(rest))
        self._splice.rewatch()

    def pass_on(self, payload: bytes) -> None:
        """Send to the server what was in a client's frame."""
        self._facts.bytes_to_server += len(payload)
        if self._to.unsent:
            self.other.send(payload)
        else:
            self._pass_on(payload)
