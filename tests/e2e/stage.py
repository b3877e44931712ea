"""A running gateway for plays: what arrives, and what is logged, is what was sent.

What arrives is in order, and is all wherever the end was an orderly one; and the log's counts are
those of the bytes.
"""

from __future__ import annotations

import contextlib
import queue
import re
import socket
from pathlib import Path

from OpenSSL import SSL

from tests.e2e import certificates
from tests.e2e.fake_targets import SERVER_INIT, FakeTarget, read_exactly, rfb_handshake
from tests.e2e.plays import CLOSE, PATIENCE_S, TINY, ClientSide, Play, Side, run
from tests.e2e.programs import Gateway, becomes_true, temporary_directory
from tests.e2e.raw_client import RawClient
from tests.e2e.tls_socket import TlsSocket


def _vencrypt(connection: socket.socket, context: SSL.Context) -> TlsSocket:
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
    secure = TlsSocket(connection, context, server_side=True)
    secure.sendall(bytes(4))
    read_exactly(secure, 1)
    secure.sendall(SERVER_INIT)
    return secure


_END_LINE = re.compile(r"ended after [\d.]+ s: (\S+?)[ ;].* (\d+) bytes to the client, (\d+) to")


class Stage:
    """A gateway with one console, for plays.

    Attributes:
        gateway: a running one.

    Args:
        splice: how it moves bytes.
        client_tls: whether it speaks TLS with clients.
        server_tls: whether it speaks TLS with the console.
    """

    def __init__(self, splice: str, client_tls: bool = False, server_tls: bool = False) -> None:
        self._stack = contextlib.ExitStack()
        self._tls: SSL.Context | None = None
        self._opened: queue.Queue[socket.socket | TlsSocket] = queue.Queue()
        self._ends_logged = 0
        directory = self._stack.enter_context(temporary_directory())
        target = FakeTarget(self._open)
        self._stack.callback(target.stop)
        flags: tuple[str, ...] = ()
        if server_tls:
            flags = self._speak_tls(directory)
        cert = directory / "gateway.pem" if client_tls else None
        if cert is not None:
            certificates.write_certificate(cert)
        # One token for all, whose sessions may still be ending when the next ones begin.
        options: dict[str, object] = {"splice": splice, "max_sessions_per_token": 0}
        try:
            self.gateway = Gateway(options, cert=cert, flags=flags)
        except AssertionError:
            self.close()
            raise
        self._stack.callback(self.gateway.stop)
        self._url = self.gateway.console_url(target.port, "--ttl=36000")

    def close(self) -> None:
        """Stop everything."""
        self._stack.close()

    def _speak_tls(self, directory: Path) -> tuple[str, ...]:
        """Make the console one that does; return the gateway's options for it."""
        ca = certificates.issue("a CA", ca=True)
        ca.write(directory / "ca.pem", directory / "ca-key.pem")
        pem = directory / "server.pem"
        certificates.issue("server", issuer=ca).write(pem, pem)
        self._tls = SSL.Context(SSL.TLS_SERVER_METHOD)
        self._tls.use_certificate_chain_file(str(pem))
        self._tls.use_privatekey_file(str(pem))
        trusted = f"--vnc-vencrypt_ca_certs={directory / 'ca.pem'}"
        return ("--vnc-auth_schemes=vencrypt", trusted)

    def _open(self, connection: socket.socket) -> None:
        """Do the server's handshake; the play itself is in the caller's thread."""
        connection.settimeout(PATIENCE_S)
        if self._tls is None:
            rfb_handshake(connection)
        own = socket.socket(fileno=connection.detach())  # the other is closed when this returns
        own.settimeout(PATIENCE_S)
        self._opened.put(own if self._tls is None else _vencrypt(own, self._tls))

    def open(self, tiny: bool = False) -> tuple[RawClient, socket.socket | TlsSocket]:
        """Return both ends of a console that is open."""
        client = RawClient(self._url, TINY if tiny else None)
        server = self._opened.get(timeout=PATIENCE_S)
        if tiny:
            for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
                server.setsockopt(socket.SOL_SOCKET, option, TINY)
        return client, server

    def perform(self, play: Play) -> None:
        """Play it, and compare what was sent with what arrived and what was logged."""
        raw, connection = self.open(play.tiny)
        client = ClientSide(raw, play.client_wire, play.at_end("client"))
        server = Side(connection, play.server_stream, play.at_end("server"))
        client.reading, server.reading = play.late != "client", play.late != "server"
        run(client, server)
        client.connection.close()
        server.connection.close()
        self._compare(play, client, server)

    def _compare(self, play: Play, client: ClientSide, server: Side) -> None:
        ending, to_client, to_server = self._logged()
        from_server = SERVER_INIT + play.server_stream
        from_client = b"".join(play.client_messages)
        client_init = 1
        _expect(from_server.startswith(client.received), "the client got other bytes")
        _expect(from_client.startswith(server.received), "the server got other bytes")
        _expect(len(client.received) <= to_client <= len(from_server), "bytes_to_client")
        _expect(to_server <= client_init + len(from_client), "bytes_to_server")
        if play.end in ("server closes", "server leaves"):
            _same(len(client.received), len(from_server))
        if play.end in ("client closes", "client finishes", "client leaves"):
            _same(len(server.received), len(from_client))
            _same(to_server, client_init + len(from_client))
        _same(ending, self._ending(play.end))
        if ending == "server-closed":
            _same(client.close, CLOSE + b"The machine closed the console.")

    def _ending(self, end: str) -> str:
        """Return the word for such an end."""
        if end == "server leaves":  # with a word in TLS, or without one
            return "server-closed" if self._tls else "server-lost"
        closed = end in ("client closes", "client leaves", "server closes")
        return end.split()[0] + ("-closed" if closed else "-lost")

    def _logged(self) -> tuple[str, int, int]:
        """Return the ending and the counts in the log's next end line."""
        before = self._ends_logged
        _expect(
            becomes_true(lambda: len(self._ends()) > before), "no end of the session in the log"
        )
        ends = self._ends()
        self._ends_logged = len(ends)
        ending, to_client, to_server = ends[-1]
        return ending, int(to_client), int(to_server)

    def _ends(self) -> list[tuple[str, str, str]]:
        return _END_LINE.findall(self.gateway.log)


def _expect(holds: bool, otherwise: str) -> None:
    if not holds:
        raise AssertionError(otherwise)


def _same(found: object, wanted: object) -> None:
    _expect(found == wanted, f"{found!r} instead of {wanted!r}")


STAGES = {
    "engine": ("epoll", False, False),
    "engine with TLS to the client": ("epoll", True, False),
    "engine with TLS on both sides": ("epoll", True, True),
    "portable": ("portable", False, False),
    "portable with TLS on both sides": ("portable", True, True),
}
"""Each of a gateway's ways to move bytes, as ``Stage`` takes it."""
