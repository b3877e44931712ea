"""A WebSocket client that is nothing but a socket: every byte, pause and end is its own."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

from OpenSSL import SSL

from tests.e2e.browser import websocket_url
from tests.e2e.tls_socket import TlsSocket
from tests.helpers import ws_frame

MASK = b"\x9a\x00\xff\x31"
_PATIENCE_S = 30
_KEY = "dGhlIHNhbXBsZSBub25jZQ=="


class FrameReader:
    """Reads a server's frames out of whatever pieces they come in."""

    def __init__(self) -> None:
        self._held = bytearray()

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """Return the frames that are whole now: the first byte and the payload of each."""
        self._held += data
        frames = []
        while (frame := self._next()) is not None:
            frames.append(frame)
        return frames

    def _next(self) -> tuple[int, bytes] | None:
        held = self._held
        if len(held) < 2:
            return None
        assert not held[1] & 0x80, "a server's frames are not masked"
        head = {126: 4, 127: 10}.get(held[1], 2)
        length = int.from_bytes(held[2:head], "big") if head > 2 else held[1]
        if len(held) < head + length:
            return None
        first, payload = held[0], bytes(held[head : head + length])
        del held[: head + length]
        return first, payload


class RawClient:
    """A connection whose WebSocket, and if wanted whose console, is open.

    Attributes:
        socket: the connection, in TLS if the URL says so.
        frames: reads what comes from it.
        early: frames that came with the handshake.

    Args:
        console_url: as the gateway's command printed it.
        receive_buffer: bytes that the kernel may hold for us; None for its own choice.
        opens: whether to open the console of a VNC server.
    """

    def __init__(
        self, console_url: str, receive_buffer: int | None = None, opens: bool = True
    ) -> None:
        parts = urlsplit(websocket_url(console_url))
        assert parts.hostname and parts.port
        raw = socket.socket()
        if receive_buffer is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        raw.settimeout(_PATIENCE_S)
        raw.connect((parts.hostname, parts.port))
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket: socket.socket | TlsSocket = _in_tls(raw) if parts.scheme == "wss" else raw
        self.frames = FrameReader()
        self.early: list[tuple[int, bytes]] = []
        self._upgrade(f"{parts.path}?{parts.query}", f"{parts.hostname}:{parts.port}")
        if opens:
            self._open_console()

    def _upgrade(self, target: str, host: str) -> None:
        lines = [
            f"GET {target} HTTP/1.1",
            f"Host: {host}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Version: 13",
            f"Sec-WebSocket-Key: {_KEY}",
        ]
        self.socket.sendall("\r\n".join([*lines, "", ""]).encode())
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += self._receive()
        head, _, rest = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 "), head
        self.early += self.frames.feed(rest)

    def _open_console(self) -> None:
        for expected, answer in (
            (b"RFB 003.008\n", b"RFB 003.008\n"),
            (b"\x01\x01", b"\x01"),
            (bytes(4), b"\x01"),
        ):
            assert self.read_frame() == (0x82, expected)
            self.send(answer)

    def send(self, payload: bytes, first: int = 0x82) -> None:
        """Send one masked frame; by default a final binary one."""
        self.socket.sendall(ws_frame(payload, MASK, first))

    def read_frame(self) -> tuple[int, bytes]:
        """Return a frame's first byte and its payload.

        Raises:
            EOFError: the connection has ended.
        """
        while not self.early:
            self.early += self.frames.feed(self._receive())
        return self.early.pop(0)

    def _receive(self) -> bytes:
        data = self.socket.recv(1 << 18)
        if not data:
            raise EOFError
        return data

    def close(self) -> None:
        """Close the socket."""
        self.socket.close()


def _in_tls(raw: socket.socket) -> TlsSocket:
    return TlsSocket(raw, SSL.Context(SSL.TLS_CLIENT_METHOD), server_side=False)
