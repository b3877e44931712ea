"""Requests without a token, more than anybody reads the answers of: on every listener."""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.e2e.certificates import write_certificate
from tests.e2e.pressure import Pressure
from tests.e2e.programs import Gateway, becomes_true, free_port, require

_NOVNC = "/usr/share/novnc"
_BURST = 63 * 1024
_MOST_KB = 8 * 1024
_USUAL_MS = 50.0
_PROBES = 40  # about a second of them
_PATIENCE_S = 30.0


class FloodTestCase(SynchronousTestCase):
    """A gateway with a listener of each kind."""

    def setUp(self) -> None:
        """Start it."""
        require(f"{_NOVNC}/vnc.html")
        directory = Path(self.mktemp()).absolute()
        directory.mkdir()
        certificate = directory / "cert.pem"
        write_certificate(certificate)
        inventory = directory / "servers.yaml"
        inventory.write_text("servers: []\n")
        self.api_port, self.metrics_port = free_port(), free_port()
        self.gateway = Gateway(
            {
                "compute_driver": "inventory",
                "inventory_file": inventory,
                "api_auth": "none",
                "api_listen": f"tcp:{self.api_port}:interface=127.0.0.1",
                "metrics_listen": f"tcp:{self.metrics_port}:interface=127.0.0.1",
            },
            novnc=_NOVNC,
            cert=certificate,
        )
        self.addCleanup(self.gateway.stop)
        for port in (self.api_port, self.metrics_port):
            self.gateway.program.wait_for(f"listening on tcp:{port}:")

    def connect(self, port: int, tls: bool = False) -> socket.socket:
        """Open a connection with little room for answers."""
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(_PATIENCE_S)
        connection.connect(("127.0.0.1", port))
        self.addCleanup(connection.close)
        if not tls:
            return connection
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        secure = context.wrap_socket(connection)
        self.addCleanup(secure.close)
        return secure


def request(path: str, *lines: str) -> bytes:
    """Return a GET on the wire."""
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: g", *lines, "", ""]).encode()


def upgrade(path: str, *lines: str) -> bytes:
    """Return the request for a WebSocket."""
    key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
    words = ("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13", key)
    return request(path, *words, *lines)


def burst(one: bytes) -> bytes:
    """Return 63 KB of this request."""
    return one * (_BURST // len(one))


class PipelineTests(FloodTestCase):
    def flood(self, one: bytes, port: int, tls: bool = False) -> None:
        """Send six bursts, read nothing, and watch the others."""
        before = self.gateway.sockets()
        with Pressure(self.gateway) as pressure:
            flooding = [self.connect(port, tls) for _ in range(6)]
            for connection in flooding:
                connection.settimeout(1)
                with contextlib.suppress(TimeoutError):  # not all is read
                    connection.sendall(burst(one))
            pressure.wait_for_answers(_PROBES)
        self.assertLess(pressure.grown_kb, _MOST_KB)
        self.assertLess(pressure.usual_answer_ms, _USUAL_MS)
        for connection in flooding:
            connection.close()
        self.assertTrue(becomes_true(lambda: self.gateway.sockets() <= before))

    def test_a_page(self) -> None:
        """Pages of a console listener, in the clear and by TLS."""
        for tls in (False, True):
            self.flood(request("/vnc.html"), self.gateway.port, tls)

    def test_a_short_answer(self) -> None:
        """What is answered in few bytes is bounded as well."""
        for tls in (False, True):
            self.flood(request("/healthz"), self.gateway.port, tls)
            self.flood(request("/none"), self.gateway.port, tls)

    def test_the_api(self) -> None:
        """Its page, the page's files, and the API itself."""
        self.flood(request("/", "Accept: text/html"), self.api_port)
        self.flood(request("/api-assets/servers.js"), self.api_port)
        self.flood(request("/v2.1/servers"), self.api_port)

    def test_the_metrics(self) -> None:
        """Scrapes."""
        self.flood(request("/metrics"), self.metrics_port)

    def test_one_burst_that_is_read(self) -> None:
        """All of it is answered, in order, while others are."""
        for tls in (False, True):
            one = request("/vnc.html") + request("/core/rfb.js") + request("/none")
            connection = self.connect(self.gateway.port, tls)
            connection.sendall(one * 100)
            with Pressure(self.gateway) as pressure:
                statuses = [status for status, _ in answers(connection, 300)]
                pressure.wait_for_answers(5)
            self.assertEqual(statuses, [200, 200, 404] * 100)
            self.assertLess(pressure.usual_answer_ms, _USUAL_MS)


class SlowReaderTests(FloodTestCase):
    def test_large_files(self) -> None:
        """Two hundred clients that read nothing of one cost neither memory nor descriptors."""
        before = self.gateway.sockets()
        files = len(list(Path(f"/proc/{self.gateway.program.pid}/fd").iterdir()))
        with Pressure(self.gateway) as pressure:
            readers = [self.connect(self.gateway.port) for _ in range(200)]
            for reader in readers:
                reader.sendall(request("/core/rfb.js"))
            pressure.wait_for_answers(_PROBES)
            open_now = len(list(Path(f"/proc/{self.gateway.program.pid}/fd").iterdir()))
        self.assertLess(open_now - files, 200 + 5)  # their sockets, and a probe's
        self.assertLess(pressure.grown_kb, _MOST_KB)
        self.assertLess(pressure.usual_answer_ms, _USUAL_MS)
        expected = Path(_NOVNC, "core/rfb.js").read_bytes()
        ((status, body),) = answers(readers[0], 1)
        self.assertEqual((status, body), (200, expected))
        for reader in readers:
            reader.close()
        self.assertTrue(becomes_true(lambda: self.gateway.sockets() <= before))


class HalfSentTests(FloodTestCase):
    def test_many_half_sent_requests(self) -> None:
        """Headers that never end are held of no more than three megabytes; others are served."""
        with Pressure(self.gateway) as pressure:
            for _ in range(600):
                sender = self.connect(self.gateway.port)
                sender.settimeout(2)
                with contextlib.suppress(OSError):  # it had to make room
                    sender.sendall(request("/", "Cookie: " + "x" * 60_000)[:-2])
            pressure.wait_for_answers(_PROBES)
        # They are 35 MB in all. What the allocator keeps besides the three is up to twice as much.
        self.assertLess(pressure.grown_kb, 12 * 1024)
        self.assertLess(pressure.usual_answer_ms, _USUAL_MS)
        self.assertLess(self.gateway.sockets(), 120)


class AskingTests(FloodTestCase):
    """What requests weigh that are whole, and that nobody reads the answers of."""

    def flood(self, data: bytes, count: int = 200, tls: bool = False) -> None:
        """Send this on many connections, read nothing, and watch the others."""
        with Pressure(self.gateway) as pressure:
            for _ in range(count):
                sender = self.connect(self.gateway.port, tls)
                sender.settimeout(2)
                with contextlib.suppress(OSError):  # it had to make room
                    sender.sendall(data)
            pressure.wait_for_answers(_PROBES)
        self.assertLess(pressure.grown_kb, _MOST_KB)
        self.assertLess(pressure.usual_answer_ms, _USUAL_MS)

    def test_parameters(self) -> None:
        """A URL of thousands of parameters is refused: each takes many times its bytes."""
        many = "&".join(f"{number:x}=" for number in range(11_000))
        self.flood(request(f"/core/rfb.js?{many}"), 100)

    def test_a_body(self) -> None:
        """The body of a request for a file is bounded as the half of one is."""
        head = request("/core/rfb.js", "Content-Length: 65000")
        self.flood(head + b"x" * 65_000)

    def test_bad_tokens(self) -> None:
        """Who only hears a refusal is not remembered with all of its request."""
        self.flood(upgrade("/?token=bad", "X: " + "x" * 60_000))

    def test_bad_tokens_by_tls(self) -> None:
        """Nor does TLS keep the room that it took."""
        self.flood(upgrade("/?token=bad", "X: " + "x" * 60_000), 100, tls=True)


class TurnTests(FloodTestCase):
    """What takes the reactor long to parse, in few bytes."""

    def assert_cheap(self, data: bytes, status: int) -> None:
        """Send it on six connections at once: none of them takes a turn for itself."""
        used = self.processor_s()
        connections = [self.connect(self.gateway.port) for _ in range(6)]
        for connection in connections:
            with contextlib.suppress(OSError):  # it was refused before all was sent
                connection.sendall(data)
            self.assertTrue(connection.recv(100).startswith(b"HTTP/1.1 %d " % status))
        self.assertLess(self.processor_s() - used, 0.1)

    def processor_s(self) -> float:
        """Return how long the gateway has computed."""
        fields = (
            Path(f"/proc/{self.gateway.program.pid}/stat").read_text().rsplit(")", 1)[1].split()
        )
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def test_segments(self) -> None:
        """A path of thousands of directories, each of which would be looked at."""
        self.assert_cheap(request("/" + "a/" * 31_000), 400)

    def test_tiny_chunks(self) -> None:
        """A body whose chunks are a byte each."""
        head = request("/healthz", "Transfer-Encoding: chunked").replace(b"GET", b"POST")
        self.assert_cheap(head + b"1\r\nx\r\n" * 65_000, 400)

    def test_trailers(self) -> None:
        """What stands behind such a body, and nobody reads."""
        head = request("/healthz", "Transfer-Encoding: chunked").replace(b"GET", b"POST")
        self.assert_cheap(head + b"0\r\n" + b"a\r\n" * 20_000, 400)

    def test_folded_headers(self) -> None:
        """A header that goes on in thousands of lines, which no count of headers has."""
        self.assert_cheap(request("/", "X: a")[:-2] + b" \r\n" * 40_000, 400)


class LogTests(FloodTestCase):
    def test_the_cost_of_a_refusal(self) -> None:
        """Requests that can't be meant write less into the log than they were."""
        sent = 0
        for port in (self.gateway.port, self.api_port, self.metrics_port):
            for line in ("Origin: \xff", "Host: \xff", "no colon", "Content-Length: x", "a\xff: b"):
                for _ in range(20):
                    data = request("/", line).replace(b"\xc3\xbf", b"\xff")
                    with self.connect(port) as connection:
                        connection.sendall(data)
                        self.assertTrue(connection.recv(100).startswith(b"HTTP/1.1 400 "))
                    sent += len(data)
        logged = self.gateway.log
        self.assertNotIn("Traceback", logged)
        self.assertLess(len(logged), sent)
        self.assertEqual(len(re.findall("is answered by 400", logged)), 3)  # one of each listener

    def test_the_cost_of_many_refusals(self) -> None:
        """One answer of what comes in a burst is a refusal, and with it the connection ends."""
        for port, data in (
            (self.gateway.port, b"GET / HTTP/1.1\r\nHost: g\r\nUpgrade: websocket\r\n\r\n"),
            (self.gateway.port, request("/?token=bad")),
            (self.api_port, b"GET /none HTTP/1.1\r\nHost: not-this-machine\r\n\r\n"),
        ):
            before = len(self.gateway.log) + len(json.dumps(self.gateway.audit()))
            with self.connect(port) as connection, contextlib.suppress(OSError):
                connection.sendall(burst(data))
                heard = b"".join(iter(lambda c=connection: c.recv(65536), b""))  # type: ignore[misc]
                self.assertEqual(heard.count(b"HTTP/1.1 4"), 1)
                self.assertIn(b"connection: close", heard.lower())
            after = len(self.gateway.log) + len(json.dumps(self.gateway.audit()))
            self.assertLess(after - before, 2000)

    def test_a_single_sign_on_s_cookies(self) -> None:
        """A header line of 16 KiB among 60 is served; what is beyond the limit hears why."""
        for port in (self.gateway.port, self.api_port, self.metrics_port):
            with self.connect(port) as connection:
                cookies = ["Cookie: " + "x" * 16384, *["X-Other: " + "y" * 15000] * 3]
                connection.sendall(request("/", *cookies))
                self.assertNotIn(b" 431 ", connection.recv(100))
            with self.connect(port) as connection:
                connection.sendall(request("/", "Cookie: " + "x" * 200_000))
                answer = b"".join(iter(lambda c=connection: c.recv(4096), b""))  # type: ignore[misc]
                self.assertTrue(answer.startswith(b"HTTP/1.1 431 "), answer)
                self.assertIn(b"More than 64 KiB of headers", answer)


def answers(connection: socket.socket, count: int) -> Iterator[tuple[int, bytes]]:
    """Give status and body of so many answers that have their length."""
    held = b""
    for _ in range(count):
        while b"\r\n\r\n" not in held:
            held += connection.recv(65536)
        head, held = held.split(b"\r\n\r\n", 1)
        match = re.search(rb"(?i)content-length: (\d+)", head)
        assert match is not None, head
        length = int(match[1])
        while len(held) < length:
            held += connection.recv(65536)
        yield int(head.split(b" ")[1]), held[:length]
        held = held[length:]
