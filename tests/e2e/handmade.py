"""A browser's side of a console, made by hand on a socket: no threads, no library, any TLS.

Python's TLS sockets must not be read and written by two threads at once, as the ``websockets``
client does; now and then it then loses what it sends.
"""

from __future__ import annotations

import socket
import ssl
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.e2e import fake_targets

PATIENCE_S = 30.0
_VERSION_FRAME = b"\x82\x8c" + bytes(4) + b"RFB 003.008\n"
_CHOICE_FRAME = b"\x82\x81" + bytes(4) + b"\x01"


def trusting(ca: Path) -> ssl.SSLContext:
    """Return the context of a client that trusts the CAs in the file."""
    return ssl.create_default_context(cafile=str(ca))


def connect(
    port: int,
    tls: ssl.SSLContext | None = None,
    source: str = "127.0.0.1",
    name: str = "127.0.0.1",
) -> socket.socket:
    """Connect to a port of loopback.

    Args:
        port: where to.
        tls: to speak TLS by.
        source: the client's address.
        name: that the client asks for in TLS.
    """
    raw = socket.create_connection(("127.0.0.1", port), PATIENCE_S, source_address=(source, 0))
    if tls is None:
        return raw
    try:
        return tls.wrap_socket(raw, server_hostname=name)
    except BaseException:
        raw.close()
        raise


def open_console(
    connection: socket.socket, target: str, headers: dict[str, str] | None = None
) -> bytes:
    """Do a WebSocket and an RFB handshake; return what came, up to the ServerInit of a fake target.

    Raises:
        AssertionError: the connection ended before.
    """
    connection.settimeout(PATIENCE_S)
    more = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
    connection.sendall(
        f"GET {target} HTTP/1.1\r\nHost: gateway\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{more}\r\n"
        "".encode()
    )
    answer = b""
    for awaited, reply in (
        (b"RFB 003.008\n", _VERSION_FRAME),
        (b"\x82\x02\x01\x01", _CHOICE_FRAME),
        (b"\x82\x04\0\0\0\0", _CHOICE_FRAME),  # the ClientInit has the choice's one byte
        (fake_targets.SERVER_INIT, b""),
    ):
        while awaited not in answer:
            piece = connection.recv(4096)
            if not piece:
                raise AssertionError(f"closed before {awaited!r}: {answer!r}")
            answer += piece
        connection.sendall(reply)
    return answer


class Console:
    """An open console of the echoing fake target.

    Args:
        connection: is used up.
        target: path and query of the request.
        headers: more headers of it.
    """

    def __init__(
        self, connection: socket.socket, target: str, headers: dict[str, str] | None = None
    ) -> None:
        self.connection = connection
        self.opening = open_console(connection, target, headers)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def lives(self) -> bool:
        """Whether the target still echoes."""
        word = b"still here"
        self.connection.sendall(b"\x82" + bytes([0x80 | len(word)]) + bytes(4) + word)
        return self._frame() == (0x2, word)

    def read_close(self) -> tuple[int, str]:
        """Return code and reason of the close frame that comes next, and answer it."""
        opcode, payload = self._frame()
        assert opcode == 0x8, (opcode, payload)
        self.connection.sendall(b"\x88\x82" + bytes(4) + payload[:2])
        return int.from_bytes(payload[:2], "big"), payload[2:].decode()

    def _frame(self) -> tuple[int, bytes]:
        while True:
            first, length = self._exactly(2)
            payload = self._exactly(length)
            if first & 0x0F != 0x9:  # a ping
                return first & 0x0F, payload

    def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            piece = self.connection.recv(count - len(data))
            if not piece:
                raise EOFError
            data += piece
        return data

    def close(self) -> None:
        """Leave as a browser does that is closed: with a close frame."""
        self.connection.sendall(b"\x88\x82" + bytes(4) + b"\x03\xe8")
        self.connection.close()
