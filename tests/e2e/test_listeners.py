"""Listeners are Twisted endpoint strings: consoles open through each kind of them."""

from __future__ import annotations

import os
import socket
import ssl
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.e2e import fake_targets
from tests.e2e.certificates import write_certificate
from tests.e2e.fake_targets import FakeTarget
from tests.e2e.programs import TWISTD, Gateway, Program, novnc_directory

_VERSION_FRAME = b"\x82\x8c" + bytes(4) + b"RFB 003.008\n"
_CHOICE_FRAME = b"\x82\x81" + bytes(4) + b"\x01"


def open_console(connection: socket.socket, target: str) -> bytes:
    """Do a WebSocket and an RFB handshake by hand; return what came, up to the ServerInit."""
    connection.settimeout(20)
    connection.sendall(
        f"GET {target} HTTP/1.1\r\nHost: gateway\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
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


class ListenerTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.target = FakeTarget(fake_targets.echo)
        self.addCleanup(self.target.stop)

    def gateway(self, listen: str) -> Gateway:
        gateway = Gateway({"listen": listen})
        self.addCleanup(gateway.stop)
        return gateway

    def token_path(self, gateway: Gateway) -> str:
        """Return the WebSocket's request target for a new token."""
        return "/websockify?token=" + gateway.console_url(self.target.port)[-36:]

    def test_unix(self) -> None:
        """A UNIX socket, for a balancer on the same machine."""
        path = Path(self.mktemp()).absolute()
        short = Path("/tmp") / f"vncproxy-test-{os.getpid()}.sock"
        path.symlink_to(short)
        gateway = self.gateway(f"unix:{short}")
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(short))
            open_console(connection, self.token_path(gateway))
        gateway.program.wait_for("a local socket to instance .* at 127.0.0.1")

    def test_ssl(self) -> None:
        """TLS by an endpoint string, also with frames right behind each other."""
        cert = Path(self.mktemp()).absolute()
        write_certificate(cert)
        gateway = self.gateway(f"ssl:0:interface=127.0.0.1:privateKey={cert}:certKey={cert}")
        port = int(gateway.program.wait_for(r"ConsoleSite \(TLS\) starting on (\d+)")[1])
        context = ssl.create_default_context(cafile=str(cert))
        context.set_alpn_protocols(["h2", "http/1.1"])
        with (
            socket.create_connection(("127.0.0.1", port)) as raw,
            context.wrap_socket(raw, server_hostname="127.0.0.1") as connection,
        ):
            self.assertEqual(connection.selected_alpn_protocol(), "http/1.1")
            open_console(connection, self.token_path(gateway))
        gateway.program.wait_for("ended after .*client-lost")

    def test_cert_and_key(self) -> None:
        """Nova's `cert` makes the usual listener speak TLS."""
        cert = Path(self.mktemp()).absolute()
        write_certificate(cert)
        gateway = Gateway(flags=("--ssl_only",), cert=cert)
        self.addCleanup(gateway.stop)
        context = ssl.create_default_context(cafile=str(cert))
        with (
            socket.create_connection(("127.0.0.1", gateway.port)) as raw,
            context.wrap_socket(raw, server_hostname="127.0.0.1") as connection,
        ):
            open_console(connection, self.token_path(gateway))

    def test_haproxy(self) -> None:
        """Behind a balancer that speaks the PROXY protocol the log names the real client."""
        gateway = self.gateway("haproxy:tcp:0:interface=127.0.0.1")
        port = int(gateway.program.wait_for(r"starting on (\d+)")[1])
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(b"PROXY TCP4 198.51.100.7 127.0.0.1 50000 6080\r\n")
            open_console(connection, self.token_path(gateway))
        gateway.program.wait_for("opens: 198.51.100.7 to instance")

    def test_systemd(self) -> None:
        """A socket that systemd holds open is taken over."""
        directory = Path(self.mktemp()).absolute()
        directory.mkdir()
        config = directory / "vncproxy.conf"
        config.write_text(
            f"[DEFAULT]\nweb = {novnc_directory()}\n"
            f"[vncproxy]\nstate_path = {directory}/state\nlisten = systemd:domain=INET:index=0\n"
        )
        with socket.create_server(("127.0.0.1", 0)) as listener:
            # The inherited descriptor must be number 3, and LISTEN_PID the gateway's own.
            become = "import os, sys; os.environ['LISTEN_PID'] = str(os.getpid());"
            become += f"os.dup2({listener.fileno()}, 3); os.set_inheritable(3, True);"
            become += "os.execv(sys.argv[1], sys.argv[1:])"
            gateway = Program(
                [
                    *(sys.executable, "-c", become, *TWISTD),
                    *("-n", "--pidfile=", "vncproxy", f"--config-file={config}"),
                ],
                {"LISTEN_FDS": "1", "LISTEN_FDNAMES": "vncproxy.socket"},
                pass_fds=(listener.fileno(),),
            )
            self.addCleanup(gateway.stop)
            gateway.wait_for("listening on systemd")
            with socket.create_connection(listener.getsockname()) as connection:
                connection.sendall(b"GET /console HTTP/1.1\r\nHost: h\r\n\r\n")
                self.assertTrue(connection.recv(100).startswith(b"HTTP/1.1 200 OK"))
