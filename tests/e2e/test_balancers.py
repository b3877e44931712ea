"""HAProxy and nginx of Debian, with the configurations of conf/, before two gateways."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import tempfile
import threading
import urllib.request
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.e2e import fake_targets
from tests.e2e.certificates import write_certificate
from tests.e2e.fake_targets import FakeTarget
from tests.e2e.handmade import Console, connect, trusting
from tests.e2e.programs import Gateway, Program, becomes_true, free_port, require

_CONF = Path(__file__).parents[2] / "conf"
_CLIENT = "127.0.0.66"  # the balancer itself is 127.0.0.1


class BalancerTestCase(SynchronousTestCase):
    """Two nodes with one token database, and a balancer with a certificate before them."""

    tls_at_nodes = False

    def setUp(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="vncproxy-balancer-"))
        self.addCleanup(shutil.rmtree, self.directory, ignore_errors=True)
        os.chmod(self.directory, 0o755)
        self.cert = self.directory / "console.pem"
        write_certificate(self.cert)
        self.port = free_port()
        self.url = f"https://127.0.0.1:{self.port}"
        self.target = FakeTarget(fake_targets.echo)
        self.addCleanup(self.target.stop)
        self.nodes = [self.node(), self.node()]

    def node(self) -> Gateway:
        node = Gateway(
            {
                "state_path": self.directory / "state",
                "trusted_proxies": "127.0.0.1",
                "proxy_protocol": self.tls_at_nodes,
                "drain_timeout": 120,
            },
            cert=self.cert if self.tls_at_nodes else None,
            more=f"[vnc]\nnovncproxy_base_url = {self.url}/console\n",
        )
        self.addCleanup(node.stop)
        return node

    def configure(self, name: str, changes: dict[str, str]) -> str:
        """Write conf/NAME with these changes, each of which must apply; return the path."""
        text = (_CONF / name).read_text()
        for old, new in {
            "10.0.0.11:6080": f"127.0.0.1:{self.nodes[0].port}",
            "10.0.0.12:6080": f"127.0.0.1:{self.nodes[1].port}",
            **changes,
        }.items():
            self.assertIn(old, text)
            text = text.replace(old, new)
        path = self.directory / name
        path.write_text(text)
        return str(path)

    def wait_until_it_serves(self) -> None:
        context = trusting(self.cert)

        def serves() -> bool:
            try:
                with urllib.request.urlopen(f"{self.url}/readyz", context=context) as answer:
                    return bool(answer.status == 200)
            except OSError:
                return False

        self.assertTrue(becomes_true(serves))

    def console(self, headers: dict[str, str] | None = None) -> Console:
        """Open a console through the balancer, on whichever node, from a page of its own."""
        token = self.nodes[0].console_url(self.target.port)[-36:]
        origin = {"Origin": "https://gateway", **(headers or {})}
        connection = connect(self.port, trusting(self.cert), _CLIENT)
        self.addCleanup(connection.close)
        return Console(connection, f"/console?token={token}", origin)

    def opened(self) -> list[int]:
        """Return how many consoles each node has opened."""
        return [len(re.findall(r"req-\S+ opens: ", node.log)) for node in self.nodes]

    def open_while(self, stop: threading.Event, broken: list[Exception]) -> None:
        """Open consoles one after the other until told to stop; keep what fails."""
        while not stop.is_set():
            try:
                with self.console():
                    pass
            except Exception as error:  # counted
                broken.append(error)

    def stop_a_node_under_load(self) -> None:
        """While consoles are opened all the time one of two nodes stops; nothing breaks."""
        running = [self.console() for _ in range(6)]
        self.assertTrue(becomes_true(lambda: all(self.opened())), "both nodes are used")
        stop, broken = threading.Event(), list[Exception]()
        loader = threading.Thread(target=self.open_while, args=(stop, broken))
        loader.start()
        try:
            self.nodes[0].program.terminate()
            self.nodes[0].program.wait_for(r"consoles may go on for 120 s")
            there = self.opened()[1]
            self.assertTrue(becomes_true(lambda: self.opened()[1] > there + 10))
        finally:
            stop.set()
            loader.join()
        self.assertEqual(broken, [])
        for console in running:  # those of the node that drains too
            self.assertTrue(console.lives())
            console.close()
        self.assertTrue(becomes_true(lambda: "client-closed" in self.nodes[0].log))
        self.nodes[0].program.wait()
        self.assertNotIn("gateway-stopping", self.nodes[0].log)

    def assert_client_is_known(self, forged: dict[str, str]) -> None:
        """Whatever a client says of itself, the log has its address."""
        known = f"opens: {_CLIENT} to instance"
        with self.console(forged):
            logged = becomes_true(lambda: known in self.nodes[0].log + self.nodes[1].log)
            self.assertTrue(logged, self.nodes[0].log + self.nodes[1].log)


class HaproxyTestCase(BalancerTestCase):
    def start(self, name: str, changes: dict[str, str]) -> None:
        require("haproxy")
        changes |= {"bind :443": f"bind 127.0.0.1:{self.port}", "log /dev/log local0": ""}
        if os.geteuid() != 0:
            changes |= {"user haproxy": "", "group haproxy": ""}
        haproxy = Program(["haproxy", "-db", "-f", self.configure(name, changes)])
        self.addCleanup(haproxy.stop)
        self.wait_until_it_serves()


class HaproxyTests(HaproxyTestCase):
    def test_tls_ends_at_the_balancer(self) -> None:
        """The log has the real client, whatever it says of itself; a node's stop costs nothing."""
        self.start("haproxy.cfg", {"/etc/haproxy/console.pem": str(self.cert)})
        self.assert_client_is_known({"X-Forwarded-For": "1.2.3.4", "Forwarded": "for=1.2.3.4"})
        self.stop_a_node_under_load()


class HaproxyTcpTests(HaproxyTestCase):
    tls_at_nodes = True

    def test_tls_ends_at_the_nodes(self) -> None:
        """The PROXY header tells the client; what that says of itself is nothing."""
        self.start("haproxy-tcp.cfg", {})
        self.assert_client_is_known({"X-Forwarded-For": "1.2.3.4", "X-Forwarded-Proto": "http"})
        self.stop_a_node_under_load()


class NginxTests(BalancerTestCase):
    def test_tls_ends_at_the_balancer(self) -> None:
        """The log has the real client, whatever it says of itself; a node's stop costs nothing."""
        require("nginx")
        changes = {
            "listen 443 ssl": f"listen 127.0.0.1:{self.port} ssl",
            "/etc/nginx/console.pem": str(self.cert),
            "/run/nginx.pid": f"{self.directory}/nginx.pid",
            "/var/log/nginx": str(self.directory),
            "http {": f"http {{ client_body_temp_path {self.directory}/body; "
            f"proxy_temp_path {self.directory}/proxy; fastcgi_temp_path {self.directory}/f; "
            f"uwsgi_temp_path {self.directory}/u; scgi_temp_path {self.directory}/s;",
        }
        if os.geteuid() != 0:
            changes["user www-data;"] = ""
        path = self.configure("nginx.conf", changes)
        nginx = Program(["nginx", "-g", "daemon off;", "-c", path])
        self.addCleanup(nginx.stop)
        self.wait_until_it_serves()
        self.assert_client_is_known({"X-Forwarded-For": "1.2.3.4", "Forwarded": "for=1.2.3.4"})
        self.stop_a_node_under_load()
        for log in self.directory.glob("*.log"):
            self.assertNotIn("token", log.read_text())


class ProxyHeaderTests(SynchronousTestCase):
    """A listener behind a balancer that adds nothing but its PROXY header."""

    def setUp(self) -> None:
        self.port = free_port()
        listen = f"haproxy:tcp:{self.port}:interface=127.0.0.1"
        self.gateway = Gateway({"listen": listen, "trusted_proxies": "127.0.0.1"}, ("--debug",))
        self.addCleanup(self.gateway.stop)

    def test_a_client_that_is_not_named(self) -> None:
        """Can't name itself: the balancer has not looked at what it sends."""
        nobody = b"\r\n\r\n\0\r\nQUIT\n"
        headers = b"X-Forwarded-For: 198.51.100.66\r\nX-Forwarded-Proto: https\r\n"
        request = b"GET /healthz HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n" + headers
        for header in (b"PROXY UNKNOWN\r\n", nobody + b"\x20\0\0\0", nobody + b"\x21\0\0\0"):
            with connect(self.port) as connection, connection.makefile("rb") as answer:
                connection.sendall(header + request + b"\r\n")
                self.assertIn(b"200 OK", answer.readline())
        lines = r"(?s)(127\.0\.0\.1 GET /healthz 200.*){3}"
        self.gateway.program.wait_for(lines)
        self.assertNotIn("198.51.100.66", self.gateway.log)

    def test_a_balancer_that_is_not_trusted_any_more(self) -> None:
        """What it has opened is closed: before its header, behind it, and between two requests."""
        header = b"PROXY TCP4 198.51.100.7 127.0.0.1 50000 6080\r\n"
        request = b"GET /healthz HTTP/1.1\r\nHost: gateway\r\n\r\n"
        with contextlib.ExitStack() as stack:
            opened = [stack.enter_context(connect(self.port)) for _ in range(3)]
            opened[1].sendall(header)
            opened[2].sendall(header + request)
            self.assertIn(b"200 OK", opened[2].recv(4096))
            config = self.gateway.config_file.read_text()
            changed = config.replace("trusted_proxies = 127.0.0.1", "trusted_proxies = 10.9.9.9")
            self.gateway.config_file.write_text(changed)
            self.gateway.program.signal(signal.SIGHUP)
            self.gateway.program.wait_for(r"reloaded; changed: \[vncproxy\] trusted_proxies")
            for connection, rest in zip(opened, (header + request, request, request), strict=True):
                with contextlib.suppress(OSError):
                    connection.sendall(rest)
                    self.assertEqual(connection.recv(4096), b"")
