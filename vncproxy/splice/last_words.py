"""A connection whose peer is heard to the end, whatever becomes of what is written to it.

Twisted drops a connection at the first write that fails, and with it what the peer had sent
before: it is still in the kernel, where it can be read even behind a reset. So does a reactor that
is told of a reset while reading is paused. Here an error of one direction is believed for that
direction only: nothing more is written, the peer is read to its end, and how that is met says how
the connection ended.
"""

from __future__ import annotations

import errno
import fcntl
import select
import socket
import termios
from functools import cache

from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.main import CONNECTION_LOST
from twisted.internet.tcp import Connection
from twisted.protocols.policies import ProtocolWrapper
from twisted.python.failure import Failure
from typing_extensions import override

from vncproxy.interfaces import IStreamReactor

HUNG_UP = BrokenPipeError(errno.EPIPE, "the connection broke")
_PATIENCE_S = 10.0  # for those who take what such a peer has sent
_MOST_READS = 1024  # of 64 KiB, from such a peer: more than the kernel holds
_TICK_S = 0.05  # between two reads of a peer that is read slowly


class HeardOut(Connection):
    """What ``hear_out`` makes of a transport of Twisted's.

    Attributes:
        write_error: of the first write that failed; nothing has been written since then.
    """

    reactor: IStreamReactor
    write_error: Exception | None = None
    _patience: IDelayedCall | None = None
    _next_drop: IDelayedCall | None = None
    _next_read: IDelayedCall | None = None
    _is_paused = False
    _is_slow = False
    _end_is_known = False
    _reads_left = _MOST_READS

    def write_no_more(self, error: Exception) -> None:
        """Believe that the peer takes nothing any more; it may still have something to say.

        Whatever is written from now on is dropped, but no faster than a slow peer would take it:
        nobody works hard for somebody who has gone.

        Args:
            error: of the write that failed.
        """
        if self.write_error is None:
            self.write_error = error
            self.stopWriting()
            self.startWriting()
            self._patience = self.reactor.callLater(_PATIENCE_S, self.break_off, error)

    def break_off(self, error: Exception) -> None:
        """Lose the connection: there is nothing more to be read."""
        self._end_is_known = True
        self.connectionLost(Failure(ConnectionLost(str(error))))

    def read_slowly(self) -> None:
        """Read so much as keeps the peer going, and no more: it goes nowhere."""
        self._is_slow = True

    @override
    def writeSomeData(self, data: bytes) -> int:
        if self.write_error is None:
            try:
                return self.socket.send(memoryview(data)[: self.SEND_LIMIT])
            except OSError as error:
                if error.errno in (errno.EAGAIN, errno.ENOBUFS):
                    return 0
                self.write_no_more(error)
        return len(data)

    @override
    def doWrite(self) -> int | BaseException | None:  # type: ignore[override]  # see doRead
        if self.disconnecting:
            # TLS has ended, and closes. Twisted would resume a producer first that it has paused,
            # wait for its bytes, which TLS has no use for, and so never close.
            self.producer = None
        why: int | BaseException | None = super().doWrite()
        return why

    @override
    def startWriting(self) -> None:
        if self.write_error is None:
            super().startWriting()
        elif self._next_drop is None and self.connected:
            self._next_drop = self.reactor.callLater(_TICK_S, self._drop)

    @override
    def stopWriting(self) -> None:
        super().stopWriting()
        if self._next_drop is not None:
            self._next_drop.cancel()
            self._next_drop = None

    def _drop(self) -> None:
        """Do as if the socket had taken what is buffered."""
        self._next_drop = self.reactor.callLater(_TICK_S, self._drop)  # until stopWriting
        why = self.doWrite()
        if isinstance(why, BaseException):
            self.connectionLost(Failure(why))

    @override
    def doRead(self) -> ConnectionLost | ConnectionDone | None:  # type: ignore[override]  # mypy takes _AbortingMixin's assignment for it
        why = super().doRead()
        if why is None:
            why = self._after_read()
        elif self._has_forgotten_its_reset:
            why = CONNECTION_LOST
        if why is not None:
            self._end_is_known = True
        return why

    def _after_read(self) -> ConnectionLost | None:
        if self.write_error is not None:
            self._reads_left -= 1
            if not self._reads_left:
                return CONNECTION_LOST
        if self._is_slow and self.connected:
            self.stopReading()
            self._next_read = self.reactor.callLater(_TICK_S, self._read_on)
        return None

    def _read_on(self) -> None:
        self._next_read = None
        if not self._is_paused:
            self.resumeProducing()

    @override
    def pauseProducing(self) -> None:
        self._is_paused = True
        super().pauseProducing()

    @override
    def resumeProducing(self) -> None:
        self._is_paused = False
        if self._next_read is None:
            super().resumeProducing()

    @property
    def _has_forgotten_its_reset(self) -> bool:
        """Whether the kernel now calls an end what was none in order.

        It tells of a reset once, to whoever asks first. If that is a write, reads end from then on
        as if the peer had said its end. A peer that had, before it was reset, breaks a pipe.
        """
        error = self.write_error
        return error is not None and getattr(error, "errno", None) != errno.EPIPE

    @override
    def readConnectionLost(self, reason: Failure) -> None:
        if not self._is_only_hung_up():
            super().readConnectionLost(reason)
        else:
            self._hear_out()
            self.resumeProducing()

    @override
    def connectionLost(self, reason: Failure) -> None:
        if reason.type is ConnectionLost and self._is_only_hung_up():
            self._hear_out()
            return
        for call in (self._patience, self._next_read):
            if call is not None and call.active():
                call.cancel()
        super().connectionLost(reason)

    def _is_only_hung_up(self) -> bool:
        """Whether the reactor has told of a reset that nobody has read up to.

        It does, instead of letting us read, of one that it met while it was not to read.
        """
        if not self.connected or self.disconnecting or self._end_is_known:
            return False
        poll = select.poll()
        poll.register(self.fileno(), 0)
        return bool(poll.poll(0))

    def _hear_out(self) -> None:
        """Go on with what the kernel holds; if it is nothing, end as the peer's last word says."""
        end = None if _unread_bytes(self.socket) else self.doRead()
        if end is None:
            self.write_no_more(HUNG_UP)
        else:
            self.connectionLost(Failure(end))


def hear_out(transport: object) -> None:
    """Make a connected transport, and what is beneath its TLS, one that is ``HeardOut``."""
    connection = connection_of(transport)
    if connection is not None and not isinstance(connection, HeardOut):
        connection.__class__ = _heard_out(type(connection))  # type: ignore[arg-type]  # hashable


@cache
def _heard_out(kind: type[Connection]) -> type[HeardOut]:
    return type(f"HeardOut{kind.__name__}", (HeardOut, kind), {})


def connection_of(transport: object) -> Connection | None:
    """Return the socket's transport, if this is one, or TLS or the like on one."""
    while isinstance(transport, ProtocolWrapper):
        transport = transport.transport
    return transport if isinstance(transport, Connection) else None


def _unread_bytes(connected: socket.socket) -> int:
    answer = fcntl.ioctl(connected, termios.FIONREAD, bytes(4))
    return int.from_bytes(answer, "little")
