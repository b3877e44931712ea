"""Consoles that misbehave: small scripted TCP servers on loopback, each in threads of its own."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import ssl
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

SERVER_INIT = (
    b"\x00\x10\x00\x08"  # 16 by 8 pixels
    b"\x20\x18\x00\x01\x00\xff\x00\xff\x00\xff\x10\x08\x00\x00\x00\x00"
    b"\x00\x00\x00\x04test"
)

Script = Callable[[socket.socket], None]


class Receiving(Protocol):
    """What a socket, of whatever kind, receives with."""

    def recv(self, limit: int, /) -> bytes:
        """Return what is there."""


class FakeTarget:
    """Runs a script for each connection.

    Args:
        script: gets the connection, which is closed when it returns.
        path: of the UNIX socket to listen on; None for a TCP port of loopback.

    Attributes:
        connections: how many there were.
    """

    def __init__(self, script: Script, path: Path | None = None) -> None:
        self.connections = 0
        target = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                target.connections += 1
                script(self.request)

        class Server(socketserver.ThreadingTCPServer):
            address_family = socket.AF_INET if path is None else socket.AF_UNIX
            daemon_threads = True
            request_queue_size = 128
            block_on_close = False
            allow_reuse_address = True

            def handle_error(self, request: object, client_address: object) -> None:
                """A peer that goes away early is what some of the scripts are for."""

        # socketserver's types know no paths; what is behind it takes any address of the family.
        address: Any = ("127.0.0.1", 0) if path is None else str(path)
        self._server = Server(address, Handler)
        self.port: int = self._server.server_address[1] if path is None else 0
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        """Listen no more."""
        self._server.shutdown()
        self._server.server_close()


def read_exactly(connection: Receiving, count: int) -> bytes:
    """Return the next bytes of the connection."""
    data = b""
    while len(data) < count:
        piece = connection.recv(count - len(data))
        if not piece:
            raise EOFError
        data += piece
    return data


def rfb_handshake(connection: socket.socket) -> None:
    """Do the server's side of RFB 3.8 with security None, ServerInit included."""
    connection.sendall(b"RFB 003.008\n")
    assert read_exactly(connection, 12) == b"RFB 003.008\n"
    connection.sendall(b"\x01\x01")
    assert read_exactly(connection, 1) == b"\x01"
    connection.sendall(b"\x00\x00\x00\x00")
    assert read_exactly(connection, 1) in b"\x00\x01"  # ClientInit
    connection.sendall(SERVER_INIT)


def echo(connection: socket.socket) -> None:
    """Be a console that sends back whatever it is sent."""
    rfb_handshake(connection)
    while data := connection.recv(65536):
        connection.sendall(data)


def flood(connection: socket.socket) -> None:
    """Be a console that sends 50 MB, as fast as they are taken."""
    rfb_handshake(connection)
    with contextlib.suppress(OSError):
        connection.sendall(bytes(50_000_000))
        silent(connection)


def rfb_33(connection: socket.socket) -> None:
    """Be a console of RFB 3.3, which dictates its security type."""
    connection.sendall(b"RFB 003.003\n")
    assert read_exactly(connection, 12) == b"RFB 003.003\n"
    connection.sendall(b"\x00\x00\x00\x01")
    assert read_exactly(connection, 1) in b"\x00\x01"
    connection.sendall(SERVER_INIT)
    while connection.recv(65536):
        pass


def silent(connection: socket.socket) -> None:
    """Say nothing, until the peer goes."""
    while connection.recv(65536):
        pass


def garbage(connection: socket.socket) -> None:
    """Speak another protocol."""
    connection.sendall(b"SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3\r\n")
    silent(connection)


def closes_at_once(connection: socket.socket) -> None:
    """Accept, and close."""


def closes_after_init(connection: socket.socket) -> None:
    """Open a console, send a last word, and close."""
    rfb_handshake(connection)
    connection.sendall(b"last words")


def refuses(connection: socket.socket) -> None:
    """Refuse in RFB, for a reason that names the inside."""
    connection.sendall(b"RFB 003.008\n")
    read_exactly(connection, 12)
    reason = b"too many clients on compute-17.internal"
    connection.sendall(b"\x00" + len(reason).to_bytes(4, "big") + reason)
    silent(connection)


def wants_password(connection: socket.socket) -> None:
    """Offer VNC authentication only."""
    connection.sendall(b"RFB 003.008\n")
    read_exactly(connection, 12)
    connection.sendall(b"\x01\x02")
    silent(connection)


def behind_connect(connection: socket.socket) -> None:
    """Want an HTTP CONNECT first; the answer and the RFB greeting come in one segment."""
    request = b""
    while not request.endswith(b"\r\n\r\n"):
        request += connection.recv(1)
    if request != b"CONNECT /console/7 HTTP/1.1\r\n\r\n":
        connection.sendall(b"HTTP/1.1 404 Not Found\r\n\r\n")
        return
    connection.sendall(b"HTTP/1.1 200 OK\r\nVia: hypervisor\r\n\r\nRFB 003.008\n")
    assert read_exactly(connection, 12) == b"RFB 003.008\n"
    connection.sendall(b"\x01\x01")
    read_exactly(connection, 1)
    connection.sendall(bytes(4))
    read_exactly(connection, 1)
    connection.sendall(SERVER_INIT)
    silent(connection)


def vencrypt(context: ssl.SSLContext, connection: socket.socket) -> None:
    """Offer VeNCrypt with X509None, and begin TLS with this context."""
    connection.sendall(b"RFB 003.008\n")
    read_exactly(connection, 12)
    connection.sendall(b"\x01\x13")
    read_exactly(connection, 1)
    connection.sendall(b"\0\2")
    read_exactly(connection, 2)
    connection.sendall(b"\0\x01\0\0\x01\x04")
    read_exactly(connection, 4)
    connection.sendall(b"\x01")
    with contextlib.suppress(OSError), context.wrap_socket(connection, server_side=True) as secure:
        silent(secure)
