"""The splice on Linux: both sockets in an epoll object of the splice's own.

An epoll object's descriptor is itself readable when something in it is ready. So the reactor
watches that one descriptor, one wake-up serves every session that is ready, and there is next
to nothing between a byte's arrival and its departure: it is read into one shared buffer, behind
the room for a frame's header, and sent from there at once. What the peer does not take is kept,
and the other side's reading stops until it is gone.

The common frames of a client are unmasked here; any other byte goes to the WebSocket's protocol
object as if it came from its transport. Whenever something out of the ordinary is asked of a
connection (its end, for one), its two sockets go back to their Twisted transports first.
"""

from __future__ import annotations

import select
from collections.abc import Callable

from OpenSSL import SSL
from twisted.internet.interfaces import IReactorFDSet, IReadDescriptor
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from vncproxy.interfaces import IStreamReactor, Leg, Tap
from vncproxy.limits.turns import Turns
from vncproxy.model import SessionFacts
from vncproxy.splice.direct import READABLE, DirectSplice, End
from vncproxy.splice.frames import HEADER_ROOM
from vncproxy.splice.portable import Splice

_BUFFER_BYTES = 128 * 1024  # larger ones leave the processor's cache, which TLS feels most
_SHORT_READ_BYTES = 64 * 1024
_SESSIONS_A_TURN = 256  # then the reactor has its turn; epoll goes on with the others


@implementer(IReadDescriptor)
class Engine:
    """Moves the bytes of all sessions of a reactor.

    Args:
        reactor: watches the engine's one descriptor.
    """

    _log = Logger()

    def __init__(self, reactor: IStreamReactor) -> None:
        self._reactor = reactor
        self.turns = Turns(reactor)
        self._epoll = select.epoll()
        self._ends: dict[int, End] = {}
        self.buffer = bytearray(HEADER_ROOM + _BUFFER_BYTES)
        self.view = memoryview(self.buffer)
        self.long_room = self.view[HEADER_ROOM:]
        self.short_room = self.view[HEADER_ROOM : HEADER_ROOM + _SHORT_READ_BYTES]
        self.cipher_text = memoryview(bytearray(_BUFFER_BYTES))

    @staticmethod
    def is_possible(reactor: object) -> bool:
        """Whether there is epoll here, and a reactor that takes descriptors."""
        return hasattr(select, "epoll") and IReactorFDSet.providedBy(reactor)

    def splice(
        self, browser: Leg, server: Leg, facts: SessionFacts, tap: Tap | None = None
    ) -> Splice:
        """Return the splice of a session's two legs, not started.

        One with a tap takes the portable path, so that those without one pay nothing for it.
        """
        if browser.frames is None or tap is not None:
            return Splice(browser, server, facts, tap)
        return DirectSplice(self, browser, server, browser.frames, facts)

    def later(self, call: Callable[[], None]) -> None:
        """Call something in the reactor's next turn, when nobody is in the middle of a read."""
        self._reactor.callLater(0, call)

    def watch(self, end: End, events: int) -> None:
        """Begin to serve a socket."""
        if not self._ends:
            self._reactor.addReader(self)
        self._ends[end.wire.fileno] = end
        self._epoll.register(end.wire.fileno, events)

    def rewatch(self, end: End, events: int) -> None:
        """Wait for other events of a socket from now on."""
        self._epoll.modify(end.wire.fileno, events)

    def unwatch(self, end: End) -> None:
        """Serve a socket no longer."""
        self._epoll.unregister(end.wire.fileno)
        del self._ends[end.wire.fileno]
        if not self._ends:
            self._reactor.removeReader(self)

    def fileno(self) -> int:
        """Return the descriptor that is readable when a socket is ready."""
        return self._epoll.fileno()

    def doRead(self) -> None:
        """Serve the sockets that are ready."""
        ends = self._ends
        for fileno, events in self._epoll.poll(0, _SESSIONS_A_TURN):
            end = ends.get(fileno)
            if end is None:  # given back by one that was served just now
                continue
            try:
                if events == READABLE:
                    end.read()
                else:
                    end.serve(events)
            except (OSError, SSL.Error) as error:
                end.fail(error)
            except Exception:
                self._log.failure("{request_id} broke", request_id=end.request_id)
                end.fail(ConnectionAbortedError("a fault of the gateway's"))

    def connectionLost(self, reason: Failure) -> None:
        """Be told by the reactor that the epoll object is broken, which it never is."""

    def logPrefix(self) -> str:
        """Return the name that the reactor logs under."""
        return "splice"
