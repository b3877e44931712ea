"""A scripted browser: opens a console's URL as noVNC does, and speaks RFB over the WebSocket."""

from __future__ import annotations

import struct
from types import TracebackType
from typing import Self
from urllib.parse import parse_qs, urljoin, urlsplit

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin

_PATIENCE_S = 60


def websocket_url(console_url: str) -> str:
    """Return where noVNC 1.6 and newer connects to for this page; a serial page, to itself."""
    (path,) = parse_qs(urlsplit(console_url).query).get("path", [console_url])
    return urljoin(console_url.split("?")[0], path).replace("http", "ws", 1)


class ScriptedBrowser:
    """A WebSocket whose binary messages are read as one stream of bytes.

    Args:
        console_url: as the gateway's command printed it.
        origin: the Origin header; None for the one a browser would send.
        headers: more headers.
    """

    def __init__(
        self, console_url: str, origin: str | None = None, headers: dict[str, str] | None = None
    ) -> None:
        parts = urlsplit(console_url)
        self.socket: ClientConnection = connect(
            websocket_url(console_url),
            origin=Origin(origin or f"{parts.scheme}://{parts.netloc}"),
            additional_headers=headers,
            compression=None,
            max_size=None,
            proxy=None,
            open_timeout=_PATIENCE_S,
            close_timeout=_PATIENCE_S,
        )
        self._held = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.socket.close()

    def read(self, count: int) -> bytes:
        """Return the stream's next bytes; fewer when it ends before."""
        while len(self._held) < count:
            try:
                message = self.socket.recv(_PATIENCE_S)
            except ConnectionClosed:
                break
            assert isinstance(message, bytes)
            self._held += message
        taken, self._held = self._held[:count], self._held[count:]
        return taken

    def write(self, data: bytes) -> None:
        """Send the bytes as one binary message."""
        self.socket.send(data)

    def open_console(self) -> bytes:
        """Do the client's side of the RFB handshake; return the ServerInit of a fake target."""
        self.write_version()
        assert self.read(2) == b"\x01\x01"
        self.write(b"\x01")
        assert self.read(4) == b"\x00\x00\x00\x00"
        self.write(b"\x01")
        return self.read(28)

    def first_picture(self, version: bytes = b"003.008") -> tuple[int, int, bytes]:
        """Open a real console; return its width and height, and its pixels of four bytes."""
        assert self.read(12) == b"RFB 003.008\n"
        self.write(b"RFB " + version + b"\n")
        if version == b"003.003":
            assert self.read(4) == b"\0\0\0\1"
        else:
            assert self.read(2) == b"\x01\x01"
            self.write(b"\x01")
            assert version == b"003.007" or self.read(4) == bytes(4)
        self.write(b"\x01")
        width, height, name_length = struct.unpack("!HH16xI", self.read(24))
        self.read(name_length)
        little_endian = struct.pack("!BBBBHHHBBB3x", 32, 24, 0, 1, 255, 255, 255, 16, 8, 0)
        self.write(bytes(4) + little_endian + b"\x02\0\0\x01" + bytes(4))
        self.write(struct.pack("!BBHHHH", 3, 0, 0, 0, width, height))
        return width, height, self._read_pixels(width, height)

    def _read_pixels(self, width: int, height: int) -> bytes:
        """Put raw updates together until the whole picture is there."""
        picture, missing = bytearray(4 * width * height), width * height
        while missing > 0:
            kind, rectangles = struct.unpack("!BxH", self.read(4))
            assert kind == 0, f"a message of type {kind}"
            for _ in range(rectangles):
                x, y, w, h, encoding = struct.unpack("!HHHHi", self.read(12))
                assert encoding == 0
                for row in range(y, y + h):
                    start = 4 * (row * width + x)
                    picture[start : start + 4 * w] = self.read(4 * w)
                missing -= w * h
        return bytes(picture)

    def write_version(self) -> None:
        """Exchange the protocol versions."""
        assert self.read(12) == b"RFB 003.008\n"
        self.write(b"RFB 003.008\n")

    def read_refusal(self) -> str:
        """Return the reason with which the gateway refuses in RFB, as noVNC would show it."""
        self.write_version()
        assert self.read(1) == b"\x00"
        return self.read(int.from_bytes(self.read(4), "big")).decode()

    def read_close(self) -> tuple[int, str]:
        """Read to the end; return the Close frame's code and reason."""
        self.read(1 << 40)
        assert self.socket.close_code is not None
        return self.socket.close_code, self.socket.close_reason or ""
