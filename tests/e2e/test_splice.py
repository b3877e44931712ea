"""Both streams of a console through a running gateway, under whatever the two ends do.

Each example sends random bytes both ways in random pieces; readers stall; sockets are tiny; and
one side ends the session in one of the ways there are. What arrives is what was sent, in order,
and in full wherever the end was an orderly one; and the log's counts are those of the bytes.
"""

from __future__ import annotations

import contextlib
import queue
import random
import re
import select
import socket
import ssl
import struct
import time
from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.e2e import certificates
from tests.e2e.fake_targets import SERVER_INIT, FakeTarget, read_exactly, rfb_handshake
from tests.e2e.programs import Gateway, becomes_true, temporary_directory
from tests.e2e.raw_client import MASK, RawClient
from tests.helpers import ws_frame

_ENDS = ("client closes", "client finishes", "client resets", "server closes", "server resets")
_SIZES = (1, 6, 125, 126, 4000, 65535, 65536, 300_000)
_EXAMPLES = settings(max_examples=30, deadline=None)
_PATIENCE_S = 30
_STUCK_S = 0.05  # when nothing has moved for so long, whoever reads late begins to read
_TINY = 65536  # bytes of a socket's buffer; smaller ones make TCP wait for its timers
_NOT_NOW = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
_CLOSE = struct.pack("!H", 1000)


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
        return wire + (ws_frame(_CLOSE, MASK, 0x88) if self.end == "client closes" else b"")


PLAYS = st.builds(
    Play,
    from_server=st.lists(st.sampled_from(_SIZES), max_size=6),
    from_client=st.lists(st.sampled_from(_SIZES[:-1]), max_size=4),
    fragmented=st.lists(st.booleans(), min_size=4, max_size=4),
    tiny=st.booleans(),
    late=st.sampled_from(("", "", "client", "server")),
    end=st.sampled_from(_ENDS),
    seed=st.integers(0, 1000),
)


class Side:
    """One end of a play.

    Attributes:
        connection: its socket.
        reading: whether it reads yet.
        ended: whether its connection is over.

    Args:
        outgoing: all that it writes.
        at_end: "", "finishes" or "resets": what it does behind that.
    """

    def __init__(self, connection: socket.socket, outgoing: bytes, at_end: str) -> None:
        connection.setblocking(False)
        self.connection = connection
        self.reading = True
        self.ended = False
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
        except _NOT_NOW:
            return False
        except OSError:  # the peer has gone; what it sent before can still be read
            self._outgoing.clear()
            return True
        del self._outgoing[:sent]
        if not self._outgoing and self._at_end:
            end, self._at_end = self._at_end, ""
            self._finish() if end == "finishes" else self._reset()
        return True

    def read(self) -> bool:
        """Read what is there; whether anything was."""
        try:
            data = self.connection.recv(1 << 18)
        except _NOT_NOW:
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

    def _finish(self) -> None:
        if isinstance(self.connection, ssl.SSLSocket):
            with contextlib.suppress(OSError):
                self.connection.unwrap()  # sends our close_notify; the rest is not waited for
        with contextlib.suppress(OSError):
            socket.socket.shutdown(self.connection, socket.SHUT_WR)

    def _reset(self) -> None:
        linger = struct.pack("ii", 1, 0)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.connection.close()
        self.ended = True


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
    deadline = time.monotonic() + _PATIENCE_S
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
    writers = [side.connection for side in sides if side.writing]
    return any(select.select(readers, writers, [], _STUCK_S))


def _vencrypt(connection: socket.socket, context: ssl.SSLContext) -> ssl.SSLSocket:
    """Do the server's side of RFB with VeNCrypt and X509None, ServerInit included."""
    for said, answer_bytes in (
        (b"RFB 003.008\n", 12),
        (b"\x01\x13", 1),
        (b"\0\2", 2),
        (b"\0\x01\0\0\x01\x04", 4),
    ):
        connection.sendall(said)
        read_exactly(connection, answer_bytes)
    connection.sendall(b"\x01")
    secure = context.wrap_socket(connection, server_side=True)
    secure.sendall(bytes(4))
    read_exactly(secure, 1)
    secure.sendall(SERVER_INIT)
    return secure


class SpliceTestCase(SynchronousTestCase):
    """Plays any play through a gateway; the subclasses say through which."""

    splice = "epoll"
    client_tls = False
    server_tls = False

    def setUp(self) -> None:
        directory = temporary_directory()
        self.directory = directory.__enter__()
        self.addCleanup(directory.__exit__, None, None, None)
        self.tls: ssl.SSLContext | None = None
        self.opened: queue.Queue[socket.socket] = queue.Queue()
        self.target = FakeTarget(self._open)
        self.addCleanup(self.target.stop)
        self.gateway = self._gateway()
        self.addCleanup(self.gateway.stop)
        self.url = self.gateway.console_url(self.target.port, "--ttl=3600")
        self.played = 0

    def _open(self, connection: socket.socket) -> None:
        """Do the server's handshake; the play itself is in the test's thread."""
        connection.settimeout(_PATIENCE_S)
        if self.tls is not None:
            self.opened.put(_vencrypt(connection, self.tls))
        else:
            rfb_handshake(connection)
            self.opened.put(socket.socket(fileno=connection.detach()))

    def _gateway(self) -> Gateway:
        cert = self.directory / "gateway.pem" if self.client_tls else None
        flags: tuple[str, ...] = ()
        if cert is not None:
            certificates.write_certificate(cert)
        if self.server_tls:
            ca = certificates.issue("a CA", ca=True)
            ca.write(self.directory / "ca.pem", self.directory / "ca-key.pem")
            pem = self.directory / "server.pem"
            certificates.issue("server", issuer=ca).write(pem, pem)
            self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.tls.load_cert_chain(pem)
            trusted = f"--vnc-vencrypt_ca_certs={self.directory / 'ca.pem'}"
            flags = ("--vnc-auth_schemes=vencrypt", trusted)
        # One token for all plays, whose sessions may still be ending when the next ones begin.
        options: dict[str, object] = {"splice": self.splice, "max_sessions_per_token": 0}
        return Gateway(options, cert=cert, flags=flags)

    def perform(self, play: Play) -> None:
        """Play it, and compare what was sent with what arrived and what was logged."""
        raw = RawClient(self.url, _TINY if play.tiny else None)
        connection = self.opened.get(timeout=_PATIENCE_S)
        if play.tiny:
            for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
                connection.setsockopt(socket.SOL_SOCKET, option, _TINY)
        ends = {"client finishes": "finishes", "client resets": "resets"}
        client = ClientSide(raw, play.client_wire, ends.get(play.end, ""))
        ends = {"server closes": "finishes", "server resets": "resets"}
        server = Side(connection, play.server_stream, ends.get(play.end, ""))
        client.reading, server.reading = play.late != "client", play.late != "server"
        run(client, server)
        client.connection.close()
        server.connection.close()
        self._compare(play, client, server)

    def _compare(self, play: Play, client: ClientSide, server: Side) -> None:
        to_client, to_server = self._counted()
        from_server = SERVER_INIT + play.server_stream
        from_client = b"".join(play.client_messages)
        self.assertTrue(from_server.startswith(client.received))
        if not (self.server_tls and play.end == "server closes"):  # else not to be decrypted
            self.assertTrue(from_client.startswith(server.received))
        if play.end == "server closes":
            self.assertEqual(len(client.received), len(from_server))
            self.assertEqual(client.close, _CLOSE + b"The machine closed the console.")
        if play.end in ("client closes", "client finishes"):
            self.assertEqual(len(server.received), len(from_client))
        self.assertLessEqual(len(client.received), to_client)
        self.assertLessEqual(to_client, len(from_server))
        client_init = 1
        self.assertLessEqual(to_server, client_init + len(from_client))
        if play.end in ("client closes", "client finishes"):
            self.assertEqual(to_server, client_init + len(from_client))

    def _counted(self) -> tuple[int, int]:
        """Return the counts in the log's end line of this play."""
        self.played += 1
        found: list[tuple[str, str]] = []

        def logged() -> bool:
            found[:] = re.findall(r"(\d+) bytes to the client, (\d+) to", self.gateway.log)
            return len(found) == self.played

        self.assertTrue(becomes_true(logged), "no end of the session in the log")
        return int(found[-1][0]), int(found[-1][1])


class EngineTests(SpliceTestCase):
    @_EXAMPLES
    @given(PLAYS)
    def test_any_play(self, play: Play) -> None:
        """The engine on epoll."""
        self.perform(play)


class EngineTlsTests(SpliceTestCase):
    client_tls = True

    @_EXAMPLES
    @given(PLAYS)
    def test_any_play(self, play: Play) -> None:
        """The engine, with TLS towards the client."""
        self.perform(play)


class EngineVencryptTests(SpliceTestCase):
    client_tls = True
    server_tls = True

    @_EXAMPLES
    @given(PLAYS)
    def test_any_play(self, play: Play) -> None:
        """The engine, with TLS on both sides."""
        self.perform(play)


class PortableTests(SpliceTestCase):
    splice = "portable"

    @_EXAMPLES
    @given(PLAYS)
    def test_any_play(self, play: Play) -> None:
        """The portable path."""
        self.perform(play)
