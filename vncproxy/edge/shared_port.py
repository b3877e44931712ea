"""A port of a listening socket that is open already, and of other processes too."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from typing import Any

from twisted.internet.abstract import FileDescriptor
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.interfaces import IListeningPort, IProtocolFactory
from twisted.logger import Logger
from typing_extensions import override
from zope.interface import implementer

_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
_EXHAUSTED_PAUSE_S = 1.0
_HEAD_START_S = 0.005
_LEFT_BY_OTHERS = 32  # connections to take at once when the others have not in that time


@implementer(IListeningPort)
class SharedPort(FileDescriptor):
    """Accepts from a listening socket from which other processes accept too.

    Unlike Twisted's own ports it takes one connection a wake-up, which spreads a burst over the
    workers; and it leaves a UNIX socket's path alone, which is its parent's to remove.

    Args:
        reactor: accepts.
        descriptor: of the socket; closed with the port.
        factory: makes the protocols.
        ahead: whether this worker should let the others go first.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,  # noqa: ANN401
        descriptor: int,
        factory: IProtocolFactory,
        ahead: Callable[[], bool],
    ) -> None:
        super().__init__(reactor)
        self._reactor = reactor
        self._socket = socket.socket(fileno=descriptor)
        self._factory = factory
        self._ahead = ahead

    @override
    def fileno(self) -> int:
        return self._socket.fileno()

    def startListening(self) -> None:  # noqa: N802
        """Begin to accept."""
        self._factory.doStart()
        self.connected = True
        self.startReading()

    def stopListening(self) -> None:  # noqa: N802
        """Accept no more; the socket itself stays open with whoever else has it."""
        if self.connected:
            self.connectionLost(None)

    @override
    def connectionLost(self, reason: object) -> None:
        self.stopReading()
        super().connectionLost(reason)
        self._socket.close()
        self._factory.doStop()

    @override
    def getHost(self) -> IPv4Address | IPv6Address | UNIXAddress:
        """Return the address that it listens on."""
        name = self._socket.getsockname()
        if self._socket.family == socket.AF_UNIX:
            return UNIXAddress(name)
        kind = IPv6Address if self._socket.family == socket.AF_INET6 else IPv4Address
        return kind("TCP", *name)

    @override
    def doRead(self) -> None:
        if self._ahead():
            self._pause(_HEAD_START_S, self._accept_those_left)
        else:
            self._accept()

    def _accept_those_left(self) -> None:
        for _ in range(_LEFT_BY_OTHERS):
            if not self._accept():
                break

    def _accept(self) -> bool:
        """Accept a connection, and return whether there may be more."""
        try:
            connection, _address = self._socket.accept()
        except BlockingIOError:
            return False  # another worker was faster
        except OSError as error:
            if error.errno == errno.EINVAL:  # its parent has shut it down, and readable it stays
                self.stopReading()
                return False
            if error.errno not in _EXHAUSTED:
                return True  # this one went away
            self._log.error("can't accept a connection: {reason}", reason=error.strerror)
            self._pause(_EXHAUSTED_PAUSE_S)
            return False
        with connection:  # the transport gets a duplicate
            self._serve(connection)
        return True

    def _serve(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        try:
            self._reactor.adoptStreamConnection(
                connection.fileno(), self._socket.family, self._factory
            )
        except OSError:
            pass  # it has gone already
        except Exception:  # the port must go on
            self._log.failure("a connection could not be served")

    def _pause(self, seconds: float, then: Callable[[], None] | None = None) -> None:
        def go_on() -> None:
            if self.connected:
                self.startReading()
                if then is not None:
                    then()

        self.stopReading()
        self._reactor.callLater(seconds, go_on)
