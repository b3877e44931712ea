"""Whose pages may open consoles, and how a request names its host: on a running gateway."""

from __future__ import annotations

import re
from http.client import HTTPResponse

from tests.e2e.handmade import connect
from tests.e2e.programs import becomes_true
from tests.e2e.test_consoles import ConsolesTestCase

_UPGRADE = (
    "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)


def answer(port: int, target: str, *lines: str, upgrade: bool = False) -> tuple[int, str]:
    """Send a request with these headers; return the answer's status and its body, if it has one."""
    head = "\r\n".join([f"GET {target} HTTP/1.1", *lines, ""])
    with connect(port) as connection:
        connection.sendall(f"{head}{_UPGRADE if upgrade else ''}\r\n".encode())
        response = HTTPResponse(connection)
        response.begin()
        return response.status, "" if response.status == 101 else response.read().decode()


class OriginTests(ConsolesTestCase):
    def setUp(self) -> None:
        self.start_gateway("[console]\nallowed_origins = dashboard.example\n")
        target = self.echo()
        self.links = []
        for kind in ("novnc", "serial", "spice-html5"):
            url = self.gateway.console_url(target, f"--type={kind}")
            found = re.fullmatch(r"http://127\.0\.0\.1:(\d+)/.*token(?:=|%3D)(.*)", url)
            assert found is not None, url
            self.links.append((int(found[1]), f"/?token={found[2]}"))

    def refusals(self) -> int:
        return self.gateway.log.count("origin-refused")

    def test_an_origin_has_one_form(self) -> None:
        """Whatever else looks like the gateway's page gets 403, one line, and no WebSocket."""
        sent = 0
        for port, target in self.links:
            own = f"127.0.0.1:{port}"
            for origins in (
                [rf"http://evil.example\@{own}"],
                [f"http://evil@{own}"],
                [f"http://{own}, http://evil.example"],
                [f"http://{own}", "http://evil.example"],
                [f"http://{own}", f"http://{own}"],
                *([f"http://{own}/"], [f"HTTP://{own}"], ["null"], [""], ["http://evil.example"]),
            ):
                lines = [f"Origin: {origin}" for origin in origins]
                status, body = answer(port, target, f"Host: {own}", *lines, upgrade=True)
                self.assertEqual(status, 403, origins)
                self.assertIn('"origin-refused"', body)
                sent += 1
        self.assertTrue(becomes_true(lambda: self.refusals() >= sent))
        self.assertEqual(self.refusals(), sent)
        self.assertNotIn("Traceback", self.gateway.log)

    def test_the_verdict_too(self) -> None:
        """What the page names as its origin is judged in the same way."""
        port, target = self.links[0]
        own = f"127.0.0.1:{port}"
        for header in ("Origin", "X-Console-Origin"):
            for origin, status in (
                (rf"http://evil.example\@{own}", 403),
                (f"http://evil@{own}", 403),
                (f"http://{own}, http://evil.example", 403),
                ("", 403),
                (f"http://{own}", 200),
                ("http://dashboard.example:8080", 200),
            ):
                lines = (f"Host: {own}", f"{header}: {origin}", "Accept: application/json")
                self.assertEqual(answer(port, target, *lines)[0], status, (header, origin))

    def test_good_origins(self) -> None:
        """The listener's own pages, those of allowed hosts, and programs open consoles."""
        for port, target in self.links:
            host = f"Host: 127.0.0.1:{port}"
            for lines in (
                [f"Origin: http://127.0.0.1:{port}"],
                ["Origin: http://dashboard.example"],
                [],
            ):
                self.assertEqual(answer(port, target, host, *lines, upgrade=True)[0], 101, lines)

    def test_one_host(self) -> None:
        """A Host of another form, none, or two are 400: for upgrades, verdicts and pages."""
        for port, target in self.links:
            own = f"127.0.0.1:{port}"
            for lines in (
                [],
                ["Host: "],
                [f"Host: {own}", f"Host: {own}"],
                *([f"Host: {host}"] for host in (f"{own}, {own}", f"evil@{own}", f"{own}/", "::1")),
            ):
                self.assertEqual(answer(port, target, *lines, upgrade=True)[0], 400, lines)
                self.assertEqual(answer(port, target, *lines)[0], 400, lines)
                self.assertEqual(answer(port, "/console", *lines)[0], 400, lines)
        self.assertNotIn("Traceback", self.gateway.log)

    def test_two_tokens(self) -> None:
        """A URL with two different tokens is malformed; the same one twice is one."""
        for port, target in self.links:
            host = f"Host: 127.0.0.1:{port}"
            self.assertEqual(answer(port, f"{target}&token=other", host, upgrade=True)[0], 400)
            self.assertEqual(answer(port, f"{target}&token=other", host)[0], 400)
            token = target.partition("=")[2]
            self.assertEqual(answer(port, f"{target}&token={token}", host, upgrade=True)[0], 101)
