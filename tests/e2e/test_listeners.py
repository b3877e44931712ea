"""Listeners are Twisted endpoint strings: consoles open through each kind of them."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import stat
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.e2e import fake_targets
from tests.e2e.certificates import write_certificate
from tests.e2e.fake_targets import FakeTarget
from tests.e2e.handmade import connect, open_console, trusting
from tests.e2e.programs import Gateway, novnc_directory, start_by_systemd, temporary_directory

_HEADER = b"PROXY TCP4 198.51.100.7 127.0.0.1 50000 6080\r\n"


class ListenerTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.target = FakeTarget(fake_targets.echo)
        self.addCleanup(self.target.stop)

    def gateway(self, listen: str, **options: str) -> Gateway:
        gateway = Gateway({"listen": listen, **options})
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
        gateway = self.gateway("haproxy:tcp:0:interface=127.0.0.1", trusted_proxies="127.0.0.0/30")
        port = int(gateway.program.wait_for(r"starting on (\d+)")[1])
        with connect(port) as connection:
            connection.sendall(_HEADER)
            open_console(connection, self.token_path(gateway))
        gateway.program.wait_for("opens: 198.51.100.7 to instance")
        with connect(port, source="127.0.0.66") as forged:
            forged.sendall(_HEADER)
            with contextlib.suppress(ConnectionError):
                self.assertEqual(forged.recv(99), b"")
        gateway.program.wait_for(r"127\.0\.0\.66 is not let in: .* balancers of .*trusted_proxies")
        with connect(port) as drips:
            self.assertLess(self.drip(drips, b"PROXY TCP4 ", b"1"), 1 << 20)
        gateway.program.wait_for("not let in|PROXY header of more than 107 bytes")

    def test_forged_headers(self) -> None:
        """Where no balancer is trusted, or it is another, no header changes who the client is."""
        gateway = self.gateway("tcp:0:interface=127.0.0.1", trusted_proxies="192.0.2.1")
        port = int(gateway.program.wait_for(r"starting on (\d+)")[1])
        with connect(port, source="127.0.0.66") as connection:
            connection.sendall(_HEADER)
            self.assertIn(b"400 Bad Request", connection.recv(999))
        forged = {"X-Forwarded-For": "198.51.100.7", "Forwarded": "for=198.51.100.7"}
        with connect(port, source="127.0.0.66") as connection:
            open_console(connection, self.token_path(gateway), forged)
        gateway.program.wait_for("opens: 127.0.0.66 to instance")
        self.assertNotIn("198.51.100.7", gateway.log)

    def test_a_gigabyte_of_headers(self) -> None:
        """It ends within what the sockets hold, and costs no memory."""
        gateway = self.gateway("tcp:0:interface=127.0.0.1")
        port = int(gateway.program.wait_for(r"starting on (\d+)")[1])
        before = gateway.memory_kb
        for drop in (b"X-Header: value\r\n", b"a"):
            with connect(port) as drips:
                start = b"GET / HTTP/1.1\r\nHost: h\r\nX: "
                self.assertLess(self.drip(drips, start, drop * 64), 1 << 24)
        self.assertLess(gateway.memory_kb - before, 10_000)

    def drip(self, connection: socket.socket, start: bytes, drop: bytes) -> int:
        """Send without an end; return how many bytes were sent when the gateway closed."""
        sent = connection.send(start)
        with contextlib.suppress(ConnectionError):
            while sent < 1 << 30:
                sent += connection.send(drop)
        return sent

    def test_both_families(self) -> None:
        """The address :: takes clients of both, by TLS, and the log names each as it is."""
        cert = Path(self.mktemp()).absolute()
        write_certificate(cert)
        gateway = Gateway(cert=cert, more="[vnc]\nnovncproxy_host = ::\n")
        self.addCleanup(gateway.stop)
        for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
            with socket.socket(family) as raw:
                raw.settimeout(30)
                raw.connect((address, gateway.port))
                with trusting(cert).wrap_socket(raw, server_hostname="127.0.0.1") as connection:
                    open_console(connection, self.token_path(gateway))
            gateway.program.wait_for(f"opens: {address} to instance")

    def test_a_balancer_by_a_unix_socket(self) -> None:
        """With the word unix it is believed, by the PROXY protocol and by header."""
        path = Path("/tmp") / f"vncproxy-test-{os.getpid()}-balancer.sock"
        for word, header, forwarded in (
            ("haproxy:", _HEADER, {}),
            ("", b"", {"X-Forwarded-For": "198.51.100.7"}),
        ):
            gateway = self.gateway(f"{word}unix:{path}", trusted_proxies="unix")
            with socket.socket(socket.AF_UNIX) as connection:
                connection.connect(str(path))
                connection.sendall(header)
                open_console(connection, self.token_path(gateway), forwarded)
            gateway.program.wait_for("opens: 198.51.100.7 to instance")
            gateway.stop()

    def test_who_may_connect_to_unix_sockets(self) -> None:
        """The gateway's user and group, whatever the umask, to listeners of every kind."""
        self.addCleanup(os.umask, os.umask(0))
        with temporary_directory() as directory:
            directory.chmod(0o755)
            inventory = directory / "servers.yaml"
            inventory.write_text("servers: []\n")
            names = ("consoles", "serial", "api", "metrics")
            paths = {name: directory / f"{name}.sock" for name in names}
            for workers in (1, 2):
                gateway = self.gateway(
                    f"haproxy:unix:{paths['consoles']}",
                    trusted_proxies="unix",
                    workers=str(workers),
                    consoles="novnc, serial",
                    listen_serial=f"unix:{paths['serial']}",
                    api_listen=f"unix:{paths['api']}",
                    api_auth="none",
                    compute_driver="inventory",
                    inventory_file=str(inventory),
                    metrics_listen=f"unix:{paths['metrics']}",
                )
                for name, path in paths.items():
                    gateway.program.wait_for(f"listening on .*{path}")
                    self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o660, name)
                    self.assert_refused_to_strangers(path)
                self.assertNotIn("every user of this machine", gateway.log)
                gateway.stop()

    def assert_refused_to_strangers(self, path: Path) -> None:
        """Try to connect as nobody, where these tests are run by root."""
        if os.geteuid() != 0:
            return
        groups = os.getgroups()
        os.setgroups([])
        os.setegid(65534)
        os.seteuid(65534)
        try:
            with socket.socket(socket.AF_UNIX) as connection, self.assertRaises(PermissionError):
                connection.connect(str(path))
        finally:
            os.seteuid(0)
            os.setegid(0)
            os.setgroups(groups)

    def test_a_unix_socket_of_systemd(self) -> None:
        """It keeps the mode that it has from there, and its path, for the next gateway."""
        for workers in (1, 2):
            with temporary_directory() as directory, socket.socket(socket.AF_UNIX) as listener:
                path, config = directory / "http.sock", directory / "vncproxy.conf"
                listener.bind(str(path))
                path.chmod(0o600)
                listener.listen()
                config.write_text(
                    f"[DEFAULT]\nweb = {novnc_directory()}\n"
                    f"[vncproxy]\nstate_path = {directory}/state\nworkers = {workers}\n"
                    "listen = systemd:domain=UNIX:index=0\n"
                )
                gateway = start_by_systemd(listener, config)
                self.addCleanup(gateway.stop)
                gateway.wait_for("listening on systemd")
                with socket.socket(socket.AF_UNIX) as connection:
                    connection.connect(str(path))
                    connection.sendall(b"GET /console HTTP/1.1\r\nHost: h\r\n\r\n")
                    self.assertTrue(connection.recv(100).startswith(b"HTTP/1.1 200 OK"))
                self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o600)
                gateway.stop()
                self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o600)

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
            gateway = start_by_systemd(listener, config)
            self.addCleanup(gateway.stop)
            gateway.wait_for("listening on systemd")
            with socket.create_connection(listener.getsockname()) as connection:
                connection.sendall(b"GET /console HTTP/1.1\r\nHost: h\r\n\r\n")
                self.assertTrue(connection.recv(100).startswith(b"HTTP/1.1 200 OK"))
