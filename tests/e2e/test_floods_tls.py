"""What a client can do in TLS that is no data: OpenSSL answers it, and no bound of ours sees it."""

from __future__ import annotations

import ctypes
import ctypes.util
import socket
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.e2e import fake_targets
from tests.e2e.certificates import write_certificate
from tests.e2e.fake_targets import FakeTarget
from tests.e2e.programs import Gateway, becomes_true, cannot_test
from tests.e2e.test_floods_http import upgrade
from tests.helpers import ws_frame

_PING = b"GET /healthz HTTP/1.1\r\nHost: g\r\n\r\n"


class TlsClient:
    """A TLS 1.3 client that changes its keys when it is told to, which no module of Python does.

    Args:
        port: of loopback.
    """

    def __init__(self, port: int) -> None:
        name = ctypes.util.find_library("ssl")
        if name is None:
            cannot_test("not installed: libssl")
        self._lib = ctypes.CDLL(name)
        for function in ("TLS_client_method", "SSL_CTX_new", "SSL_new"):
            getattr(self._lib, function).restype = ctypes.c_void_p
        self.socket = socket.create_connection(("127.0.0.1", port))
        method = ctypes.c_void_p(self._lib.TLS_client_method())
        context = ctypes.c_void_p(self._lib.SSL_CTX_new(method))
        self._ssl = ctypes.c_void_p(self._lib.SSL_new(context))
        assert self._lib.SSL_set_fd(self._ssl, self.socket.fileno()) == 1
        assert self._lib.SSL_connect(self._ssl) == 1

    def change_keys(self, both: bool) -> bool:
        """Change the keys, of both directions or ours alone; return whether that was sent."""
        changed: bool = self._lib.SSL_key_update(self._ssl, int(both)) == 1
        return changed and self._lib.SSL_do_handshake(self._ssl) == 1

    def ask(self) -> bytes:
        """Return the first bytes of the answer to a request; none where the connection ended."""
        return self.say(_PING)

    def say(self, data: bytes) -> bytes:
        """Send bytes, and return the first that come back."""
        self._lib.SSL_write(self._ssl, data, len(data))
        answer = ctypes.create_string_buffer(4096)
        count = self._lib.SSL_read(self._ssl, answer, len(answer))
        return answer.raw[: max(0, count)]


class KeyUpdateTests(SynchronousTestCase):
    def setUp(self) -> None:
        certificate = Path(self.mktemp()).absolute()
        write_certificate(certificate)
        self.gateway = Gateway(cert=certificate)
        self.addCleanup(self.gateway.stop)

    def connect(self) -> TlsClient:
        client = TlsClient(self.gateway.port)
        self.addCleanup(client.socket.close)
        return client

    def test_some(self) -> None:
        """A client may change its keys, and have ours changed."""
        for both in (False, True):
            client = self.connect()
            for _ in range(5):
                self.assertTrue(client.change_keys(both))
                self.assertTrue(client.ask().startswith(b"HTTP/1.1 200 "))

    def test_without_end(self) -> None:
        """One that does nothing else is cut off before unread answers pile up."""
        for both in (False, True):
            before = self.gateway.sockets()
            client = self.connect()
            self.assertTrue(becomes_true(lambda c=client, b=both: not c.change_keys(b)))  # type: ignore[misc]
            self.assertEqual(client.ask(), b"")
            self.assertTrue(becomes_true(lambda n=before: self.gateway.sockets() <= n))  # type: ignore[misc]
        self.assertNotIn("Traceback", self.gateway.log)

    def test_in_a_console(self) -> None:
        """A console that is open is ended as for any client that goes, whoever moves its bytes."""
        target = FakeTarget(fake_targets.echo)
        self.addCleanup(target.stop)
        path = f"/?token={self.gateway.console_url(target.port)[-36:]}"
        before = self.gateway.sockets()
        client = self.connect()
        self.assertIn(b" 101 ", client.say(upgrade(path).replace(b": g", b": 127.0.0.1")))
        for answer in (b"RFB 003.008\n", b"\x01", b"\x01"):
            client.say(ws_frame(answer, b"mask", 0x82))
        self.gateway.program.wait_for(" opens: ")
        self.assertTrue(becomes_true(lambda: not client.change_keys(True)))
        self.gateway.program.wait_for("client-lost")
        self.assertTrue(becomes_true(lambda: self.gateway.sockets() <= before))
        self.assertNotIn("Traceback", self.gateway.log)
