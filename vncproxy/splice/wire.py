"""A connection's socket, used directly while its Twisted transport looks on.

``borrow`` takes a socket out of the reactor's hands, ``give_back`` puts it there again, with the
bytes that the peer has not taken yet. In between the transport object keeps everything else:
who closes the socket, and who is told.

Twisted has no public way to do this, so here, and nowhere else, its transports' privates are
used; the tests in ``tests/splice`` fail when a Twisted changes them.
"""

from __future__ import annotations

import fcntl
import termios
from collections.abc import Callable
from contextlib import suppress
from typing import Any, cast

from OpenSSL import SSL
from twisted.internet.abstract import FileDescriptor
from twisted.internet.interfaces import IPushProducer
from twisted.protocols.policies import ProtocolWrapper
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from typing_extensions import override

from vncproxy.splice.last_words import HeardOut, connection_of

_RECORD_BYTES = 1 << 14  # of plain text, at most, in a TLS record (RFC 8446 §5.1)
_RECORD_EXTRA_BYTES = 64  # more than header, tag and padding of one
_ROOM_BYTES = 512  # for what TLS has to say beside our bytes


class Wire:
    """A socket without its reactor.

    Attributes:
        receive_into: reads what is there into a buffer, and returns how much it was; 0 at the
            end. It raises BlockingIOError where nothing is there now, OSError or SSL.Error
            where the connection has failed.
        push: sends bytes, while nothing is unsent, and returns how many were taken, by the
            peer or into ``unsent``. It raises BlockingIOError where none were, OSError or
            SSL.Error where the connection has failed.
        fileno: the socket's descriptor.
        unsent: bytes, in the form they have on the socket, that the peer has not taken yet.
        at_end: whether nothing can come behind what was received last.
    """

    __slots__ = ("_connection", "at_end", "fileno", "push", "receive_into", "unsent")
    receive_into: Callable[[memoryview], int]
    push: Callable[[memoryview | bytes], int]

    def __init__(self, connection: HeardOut) -> None:
        self._connection = connection
        self.fileno: int = connection.fileno()
        self.unsent = bytearray()
        self.at_end = False

    def borrow(self) -> bool:
        """Take the socket from the reactor; False, and nothing is done, if it can't be had now."""
        connection = self._connection
        if not connection.connected or connection.disconnecting or connection.write_error:
            return False
        connection.stopReading()
        connection.stopWriting()
        self.unsent += connection.dataBuffer[connection.offset :]
        self.unsent += b"".join(connection._tempDataBuffer)
        connection.dataBuffer, connection.offset = b"", 0
        connection._tempDataBuffer, connection._tempDataLen = [], 0
        return True

    def give_back(self) -> None:
        """Let the reactor read the socket again; ``send_rest`` comes next."""
        if self._connection.connected:
            self._connection.startReading()

    def send_rest(self) -> None:
        """Leave what is unsent to the transport, which may slow the other side down for it."""
        unsent, self.unsent = bytes(self.unsent), bytearray()
        FileDescriptor.write(self._connection, unsent)

    def read_slowly(self) -> None:
        """Have the transport read slowly, once it reads again."""
        self._connection.read_slowly()

    def write_no_more(self, error: Exception) -> None:
        """Drop what is unsent: the peer takes nothing. The transport hears what it still says."""
        self.unsent = bytearray()
        self._connection.write_no_more(error)

    def break_off(self, error: Exception) -> None:
        """Tell the transport, once it has everything back, that nothing more can be read."""
        if self._connection.connected:
            self._connection.break_off(error)

    def send(self, data: memoryview | bytes) -> None:
        """Send bytes, behind those that are unsent; what the peer does not take now is unsent.

        Raises:
            OSError, SSL.Error: the connection has failed.
        """
        sent = 0
        if not self.unsent:
            with suppress(BlockingIOError):
                sent = self.push(data)
        if sent != len(data):
            self.unsent += data[sent:]

    def flush(self) -> None:
        """Send of ``unsent`` what the peer takes now.

        Raises:
            OSError: the connection has failed.
        """
        with suppress(BlockingIOError):
            del self.unsent[: self._connection.socket.send(self.unsent)]


class PlainWire(Wire):
    """A TCP or UNIX socket, whose own methods are all it takes."""

    __slots__ = ()

    def __init__(self, connection: HeardOut) -> None:
        super().__init__(connection)
        self.push = connection.socket.send
        self.receive_into = connection.socket.recv_into


class TlsWire(Wire):
    """TLS on such a socket: pyOpenSSL's memory BIOs, pumped here instead of by Twisted.

    Args:
        connection: the transport beneath.
        tls: its TLS protocol.
        cipher_text: shared room for what is read from sockets, as large as the buffers that are
            given to ``receive_into``; nothing is kept in it between two calls.
    """

    __slots__ = ("_cipher_text", "_failure", "_receive", "_send", "_ssl", "_tls")

    def __init__(
        self, connection: HeardOut, tls: TLSMemoryBIOProtocol, cipher_text: memoryview
    ) -> None:
        super().__init__(connection)
        self._tls = tls
        self._ssl: SSL.Connection = tls.getHandle()
        self._cipher_text = cipher_text
        self._failure: SSL.Error | None = None  # met behind what was received last
        self._send = connection.socket.send
        self._receive = connection.socket.recv_into
        self.push = self._encrypt
        self.receive_into = self._decrypt

    @override
    def borrow(self) -> bool:
        tls = self._tls
        if not tls._handshakeDone or tls._lostTLSConnection or tls.disconnecting:
            return False
        aggregator = getattr(tls, "_aggregator", None)
        if aggregator is not None:
            aggregator.flush()
        return not tls._appSendBuffer and super().borrow()

    @override
    def send_rest(self) -> None:
        super().send_rest()
        if self._failure is not None:
            self.break_off(self._failure)
        elif self.at_end and not self._tls._lostTLSConnection:
            self._tls._flushReceiveBIO()  # Twisted meets the peer's close_notify in its turn

    @override
    def break_off(self, error: Exception) -> None:
        if isinstance(error, SSL.Error):
            self._tls._tlsShutdownFinished(Failure(error))  # sends the alert, and closes
        else:
            super().break_off(error)

    def _decrypt(self, buffer: memoryview) -> int:
        """Be ``receive_into``; the buffer must hold more than a record."""
        # Beside what is read now, a record may end whose first part was read before.
        at_most = len(buffer) - _RECORD_BYTES
        count = self._receive(self._cipher_text[:at_most])
        if not count:
            return 0
        self._ssl.bio_write(self._cipher_text[:count])
        received = 0
        try:
            while True:
                received += self._ssl.recv_into(buffer[received:], _RECORD_BYTES)
        except SSL.WantReadError:
            if not received:
                raise BlockingIOError from None
        except SSL.ZeroReturnError:
            self.at_end = True
        except SSL.Error as error:
            if not received:
                raise
            self.at_end, self._failure = True, error
        return received

    def _encrypt(self, data: memoryview | bytes) -> int:
        """Be ``push``: all is taken, if not by the peer then into ``unsent``."""
        length = len(data)
        sent = 0
        while sent < length:  # a record at a time: pyOpenSSL's contexts allow partial writes
            sent += self._ssl.send(data[sent:] if sent else data)
        records = 1 + length // _RECORD_BYTES
        room = length + records * _RECORD_EXTRA_BYTES + _ROOM_BYTES
        while True:
            cipher_text = self._ssl.bio_read(room)
            accepted = 0
            if not self.unsent:
                with suppress(BlockingIOError):
                    accepted = self._send(cipher_text)
            self.unsent += cipher_text[accepted:]
            if len(cipher_text) < room:
                return length

    @override
    def send(self, data: memoryview | bytes) -> None:
        self.push(data)  # keeps the order of what is encrypted by itself


class StandIn:
    """Stands in for a transport whose socket is used directly.

    Attributes:
        wire: of the socket.
    """

    def __init__(self, wire: Wire) -> None:
        self.wire = wire


def unsent_bytes(transport: object) -> int:
    """Return how many bytes wait in a transport, or its stand-in, for their peer to take them."""
    if isinstance(transport, StandIn):
        return len(transport.wire.unsent)
    connection = connection_of(transport)
    if connection is None:
        return 0
    return len(connection.dataBuffer) - connection.offset + connection._tempDataLen


def hold_until_taken(transport: object) -> bool:
    """Pause a transport's producer until the peer has taken all that was written.

    Twisted does so for what is beyond 64 KiB. Return False where nothing waits to be taken.
    """
    connection: Any = transport
    while isinstance(connection, ProtocolWrapper):
        aggregator = getattr(connection, "_aggregator", None)
        if aggregator is not None:
            aggregator.flush()
        connection = connection.transport
    if not isinstance(connection, FileDescriptor) or connection.producer is None:
        return False
    if not connection.producerPaused and unsent_bytes(connection):
        connection.producerPaused = True
        cast("IPushProducer", connection.producer).pauseProducing()
    return bool(connection.producerPaused)


def read_slowly(transport: object) -> None:
    """Read from now on, of a transport or its stand-in, as ``HeardOut.read_slowly`` does."""
    slowed = transport.wire if isinstance(transport, StandIn) else connection_of(transport)
    if isinstance(slowed, Wire | HeardOut):
        slowed.read_slowly()


def undelivered_bytes(transport: object) -> int:
    """Return how many of the bytes written to a transport its peer has not acknowledged.

    Of a UNIX socket: has not read; its kernel counts in units of its own, which end at 0 too.
    """
    connection = connection_of(transport)
    if not isinstance(connection, HeardOut) or not connection.connected or connection.write_error:
        return 0
    try:
        answer = fcntl.ioctl(connection.socket, termios.TIOCOUTQ, bytes(4))
    except OSError:  # not on Linux
        answer = b""
    return unsent_bytes(connection) + int.from_bytes(answer, "little")


def wire_of(transport: object, cipher_text: memoryview) -> Wire | None:
    """Return the wire beneath a Twisted transport, or None where there is more than socket and TLS.

    Args:
        transport: a protocol's.
        cipher_text: see ``TlsWire``.
    """
    # A listener's TLS is its protocol's transport; startTLS makes TLS the transport's protocol.
    tls: object = getattr(transport, "protocol", None)
    connection = transport
    if isinstance(transport, TLSMemoryBIOProtocol):
        tls, connection = transport, transport.transport
    if not isinstance(connection, HeardOut):
        return None
    if isinstance(tls, TLSMemoryBIOProtocol):
        return TlsWire(connection, tls, cipher_text)
    return PlainWire(connection)
