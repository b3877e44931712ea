"""A client that says exactly what it is told, and reports in a few words what it is answered."""

from __future__ import annotations

import os
import re
import socket
import struct
from dataclasses import dataclass, field

_PATIENCE_S = 20
_REQUEST_ID = re.compile(r" \(req-[0-9a-f-]+\)")
BINARY, TEXT, CLOSE, PING, PONG = 2, 1, 8, 9, 10


class Ended(Exception):
    """The server ended the conversation; the text says how."""


@dataclass
class Handshake:
    """A WebSocket handshake, of which any part can be changed."""

    target: str
    headers: dict[str, str | None] = field(default_factory=dict)

    def wire(self) -> bytes:
        """Return its bytes."""
        headers: dict[str, str | None] = {
            "Host": "127.0.0.1",
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
            **self.headers,
        }
        lines = [f"{name}: {value}" for name, value in headers.items() if value is not None]
        return "\r\n".join([f"GET {self.target} HTTP/1.1", *lines, "", ""]).encode()


class Client:
    """A connection to a gateway.

    Args:
        port: of loopback.

    Attributes:
        patience_s: seconds until nothing is taken for silence.
    """

    def __init__(self, port: int) -> None:
        self.patience_s = _PATIENCE_S
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._wire = b""
        self._stream = b""

    def close(self) -> None:
        """Drop the connection."""
        self._socket.close()

    def say(self, data: bytes) -> None:
        """Send bytes."""
        self._socket.sendall(data)

    def status(self) -> str:
        """Read an answer's head; return its status, and the subprotocol or location in it."""
        while b"\r\n\r\n" not in self._wire:
            self._read()
        head, _, self._wire = self._wire.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        shown = [lines[0].split()[1]]
        for line in lines[1:]:
            name, _, value = line.partition(":")
            if name.lower() in ("sec-websocket-protocol", "location"):
                shown.append(value.strip())
        return " ".join(shown)

    def frame(self, opcode: int, payload: bytes, final: bool = True, mask: bool = True) -> None:
        """Send one short frame."""
        key = os.urandom(4) if mask else b""
        if mask:
            payload = bytes(byte ^ key[at % 4] for at, byte in enumerate(payload))
        self.say(bytes([128 * final + opcode, 128 * mask + len(payload)]) + key + payload)

    def send(self, data: bytes) -> None:
        """Send a binary message."""
        self.frame(BINARY, data)

    def next_frame(self) -> tuple[int, bytes]:
        """Return the next frame's opcode and payload; raise ``Ended`` at a Close or the end."""
        opcode, length = self._exactly(2)
        if length > 125:
            size = 2 if length == 126 else 8
            length = int.from_bytes(self._exactly(size), "big")
        payload = self._exactly(length)
        if opcode & 15 == CLOSE:
            code = struct.unpack("!H", payload[:2])[0] if payload else "without a code"
            reason = _REQUEST_ID.sub("", payload[2:].decode())
            raise Ended(f"close {code} {reason}".strip())
        return opcode & 15, payload

    def read(self, count: int) -> bytes:
        """Return the stream's next bytes, out of binary frames."""
        while len(self._stream) < count:
            opcode, payload = self.next_frame()
            if opcode == BINARY:
                self._stream += payload
        taken, self._stream = self._stream[:count], self._stream[count:]
        return taken

    def open_console(self, version: bytes = b"RFB 003.008\n", choice: bytes = b"\x01") -> str:
        """Do the client's side of RFB; return "opens", or the reason why it does not."""
        self.read(12)
        self.send(version)
        if version == b"RFB 003.003\n":
            kind = int.from_bytes(self.read(4), "big")
        else:
            kind = self.read(1)[0]
        if kind == 0:
            return "told: " + self._reason()
        if version != b"RFB 003.003\n":
            self.read(kind)
            self.send(choice)
            if int.from_bytes(self.read(4), "big"):
                return "told: " + self._reason()
        self.send(b"\x01")
        self.read(28)
        return "opens"

    def rest(self) -> str:
        """Read to the end; return how it ends."""
        try:
            while True:
                self.next_frame()
        except Ended as end:
            return str(end)

    def _reason(self) -> str:
        text = self.read(int.from_bytes(self.read(4), "big")).decode()
        return _REQUEST_ID.sub("", text)

    def _exactly(self, count: int) -> bytes:
        while len(self._wire) < count:
            self._read()
        taken, self._wire = self._wire[:count], self._wire[count:]
        return taken

    def _read(self) -> None:
        self._socket.settimeout(self.patience_s)
        try:
            data = self._socket.recv(65536)
        except ConnectionResetError:
            data = b""
        except TimeoutError:
            raise Ended("silence") from None
        if not data:
            raise Ended("dropped")
        self._wire += data
