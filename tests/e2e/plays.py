"""Plays: what the two ends of a console do with each other, through a gateway.

Each sends random bytes both ways in random pieces; readers stall; sockets are tiny; and one side
ends the session in one of the ways there are.
"""

from __future__ import annotations

import fcntl
import itertools
import random
import select
import socket
import struct
import termios
import time
from collections.abc import Iterator
from dataclasses import dataclass

from tests.e2e.raw_client import MASK, RawClient
from tests.e2e.tls_socket import TlsSocket
from tests.helpers import ws_frame

ENDS = (
    *("client closes", "client finishes", "client resets", "client leaves"),
    *("server closes", "server resets", "server leaves"),
)
SIZES = (1, 6, 125, 126, 4000, 65535, 65536, 300_000)
PATIENCE_S = 30
_STUCK_S = 0.05  # when nothing has moved for so long, whoever reads late begins to read
TINY = 65536  # bytes of a socket's buffer; smaller ones make TCP wait for its timers
CLOSE = struct.pack("!H", 1000)


@dataclass(frozen=True)
class Play:
    """What the two ends do.

    Attributes:
        from_server: sizes of the pieces that the server writes.
        from_client: sizes of the messages that the client sends.
        fragmented: which of these go in fragments, with a ping in between.
        tiny: whether both ends have the smallest socket buffers there are.
        late: who reads nothing until everybody is stuck: "", "client" or "server".
        end: how the session ends, once the one who ends it has written everything.
        seed: of the bytes.
    """

    from_server: list[int]
    from_client: list[int]
    fragmented: list[bool]
    tiny: bool
    late: str
    end: str
    seed: int

    @property
    def server_stream(self) -> bytes:
        """What the server writes behind ServerInit."""
        return random.Random(self.seed).randbytes(sum(self.from_server))

    @property
    def client_messages(self) -> list[bytes]:
        """What the client sends behind ClientInit."""
        source = random.Random(self.seed + 1)
        return [source.randbytes(size) for size in self.from_client]

    @property
    def client_wire(self) -> bytes:
        """The same as frames, and the Close behind them if it is the client who closes."""
        wire = b""
        for message, fragmented in zip(self.client_messages, self.fragmented, strict=False):
            cut = len(message) // 2 if fragmented else None
            if cut is None:
                wire += ws_frame(message, MASK)
            else:
                wire += ws_frame(message[:cut], MASK, 0x02) + ws_frame(b"there?", MASK, 0x89)
                wire += ws_frame(message[cut:], MASK, 0x80)
        closes = self.end in ("client closes", "client leaves")
        return wire + (ws_frame(CLOSE, MASK, 0x88) if closes else b"")

    def at_end(self, who: str) -> str:
        """Return what this side does behind what it writes, as ``Side`` takes it."""
        side, does = self.end.split()
        if side != who:
            return ""
        closing = "" if who == "client" else "finishes"  # a client closes with a frame
        return closing if does == "closes" else does


class Side:
    """One end of a play.

    Attributes:
        connection: its socket.
        reading: whether it reads yet.
        waiting: whether it waits for what it has written to arrive.
        ended: whether its connection is over.

    Args:
        outgoing: all that it writes.
        at_end: what it does behind that: nothing; or it "finishes", and reads on; or it "resets"
            the connection at once; or it "leaves", which is to finish, in TLS, and to reset as
            soon as the gateway's kernel has everything, so that nothing may be lost by that.
    """

    def __init__(self, connection: socket.socket | TlsSocket, outgoing: bytes, at_end: str) -> None:
        connection.setblocking(False)
        self.connection = connection
        self.reading = True
        self.waiting = False
        self.ended = False
        self._said_its_end = False
        self.received = bytearray()
        self._outgoing = bytearray(outgoing)
        self._at_end = at_end

    @property
    def writing(self) -> bool:
        """Whether there is something left to write, or to do behind it."""
        return bool(self._outgoing or self._at_end)

    def write(self) -> bool:
        """Write what goes out now; whether anything did."""
        try:
            sent = self.connection.send(self._outgoing[: 1 << 16]) if self._outgoing else 0
        except BlockingIOError:
            return False
        except OSError:  # the peer has gone; what it sent before can still be read
            self._outgoing.clear()
            return True
        del self._outgoing[:sent]
        if self._outgoing or not self._at_end:
            return True
        done = {"finishes": self._finish, "resets": self._reset, "leaves": self._leave}
        if not done[self._at_end]():
            return False
        self._at_end = ""
        return True

    def read(self) -> bool:
        """Read what is there; whether anything was."""
        try:
            data = self.connection.recv(1 << 18)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        self.take(data)
        if not data:
            self.connection.close()
            self.ended = True
        return True

    def take(self, data: bytes) -> None:
        """Keep what was read."""
        self.received += data

    def _finish(self) -> bool:
        """Say that this was all, or return False when there is no room for saying it yet."""
        try:
            if isinstance(self.connection, TlsSocket):
                self.connection.finish()
            self.connection.shutdown(socket.SHUT_WR)
        except BlockingIOError:
            return False
        except OSError:
            pass  # the peer has gone
        return True

    def _leave(self) -> bool:
        if isinstance(self.connection, TlsSocket) and not self._said_its_end:
            try:
                self.connection.finish()
            except BlockingIOError:
                return False
            self._said_its_end = True
        self.waiting = bool(unacknowledged(self.connection.fileno()))
        return not self.waiting and self._reset()

    def _reset(self) -> bool:
        linger = struct.pack("ii", 1, 0)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.connection.close()
        self.ended = True
        return True


class ClientSide(Side):
    """The browser's end: ``received`` is the stream in its frames.

    Attributes:
        close: payload of the Close frame that came; None if none did.
    """

    def __init__(self, client: RawClient, outgoing: bytes, at_end: str) -> None:
        super().__init__(client.socket, outgoing, at_end)
        self.close: bytes | None = None
        self._frames = client.frames
        self._take(client.early)

    def take(self, data: bytes) -> None:
        """Read the frames."""
        self._take(self._frames.feed(data))

    def _take(self, frames: list[tuple[int, bytes]]) -> None:
        for first, payload in frames:
            if first == 0x82:
                self.received += payload
            elif first == 0x88:
                self.close = payload
                self._outgoing += ws_frame(payload[:2], MASK, 0x88)


def run(client: Side, server: Side) -> None:
    """Let both sides write and read until both have ended."""
    deadline = time.monotonic() + PATIENCE_S
    while not (client.ended and server.ended):
        assert time.monotonic() < deadline, f"client {client.ended}, server {server.ended}"
        sides = [side for side in (client, server) if not side.ended]
        moved = [side.write() for side in sides if side.writing]
        moved += [side.read() for side in sides if side.reading and not side.ended]
        if not any(moved) and not _wait([side for side in sides if not side.ended]):
            client.reading = server.reading = True


def _wait(sides: list[Side]) -> bool:
    """Wait until something can be done; False if nothing can for too long."""
    readers = [side.connection for side in sides if side.reading]
    writers = [side.connection for side in sides if side.writing and not side.waiting]
    return any(select.select(readers, writers, [], _STUCK_S))


def plays(end: str) -> Iterator[Play]:
    """Yield plays with this end: the one that has found most, and random ones in between."""
    for seed in itertools.count():
        yield Play(
            [1, 125, 6, 126, 65536, 300_000],
            [6, 65536, 6, 1],
            [True, True, False, True],
            True,
            "",
            end,
            seed,
        )
        choose = random.Random(seed)
        messages = choose.choices(SIZES[:-1], k=choose.randint(0, 4))
        if not seed % 5:  # more than are taken in a turn
            messages = [1] * 300
        yield Play(
            choose.choices(SIZES, k=choose.randint(0, 6)),
            messages,
            choose.choices([True, False], [1, len(messages)], k=len(messages)),
            choose.random() < 0.5,
            choose.choice(["", "", "client", "server"]),
            end,
            seed,
        )


def unacknowledged(fileno: int) -> int:
    """Return how many bytes that were written to a socket have not come to its peer's kernel."""
    return int.from_bytes(fcntl.ioctl(fileno, termios.TIOCOUTQ, bytes(4)), "little")
