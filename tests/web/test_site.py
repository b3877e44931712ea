"""Plain requests: pages, noVNC's files, and everything that must not be served."""

from __future__ import annotations

import re
from pathlib import Path
from typing import cast

from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from tests.web.harness import Connection, WebHarness, json_of, request_bytes
from vncproxy.logs import _json_line, _without_tokens
from vncproxy.web.inline_hashes import inline_hashes

_INLINE = (
    "<!DOCTYPE html><style>p { top: 0 }</style><script src=x.js></script><script>go()</script>"
)


class SiteTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.novnc = Path(self.mktemp())
        (self.novnc / "core").mkdir(parents=True)
        (self.novnc / "core/rfb.js").write_text("export default class RFB {}")
        (self.novnc / ".git").mkdir()
        (self.novnc / ".git/config").write_text("secret")
        (self.novnc / "vnc.html").write_text(_INLINE)
        (self.novnc.parent / "outside.txt").write_text("secret")
        self.web = WebHarness(self.novnc)

    def get(self, target: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.web.request(target, {"Host": "gateway:6080", **named}).answer()


class PageTests(SiteTestCase):
    def test_our_page(self) -> None:
        """It stands at its own path, and at nova's where noVNC's directory has no such page."""
        for path in ("/", "/console", "/vnc_auto.html", "/vnc_lite.html"):
            status, headers, body = self.get(path)
            self.assertEqual((status, headers["content-type"]), (200, "text/html; charset=utf-8"))
            self.assertIn(b"console-assets/console.js", body)
            self.assertNotIn("'unsafe-inline'", headers["content-security-policy"])
            self.assertNotIn("sha256", headers["content-security-policy"])

    def test_a_page_of_novnc_s(self) -> None:
        """Its own vnc.html is served, with its inline script and style allowed by their hashes."""
        status, headers, body = self.get("/vnc.html")
        self.assertEqual((status, body.decode()), (200, _INLINE))
        policy = headers["content-security-policy"]
        self.assertEqual(len(re.findall("'sha256-[^']{44}'", policy)), 4)  # two in two rules

    def test_hashes(self) -> None:
        """The hash is of the exact text between the tags (the sample of the CSP specification)."""
        html = "<script>alert('Hello, world.');</script><script src=a>x</script>"
        expected = "'sha256-qznLcsROx4GACP2dm0UCKCzCG+HiZ1guq6ZZDob/Tng='"
        self.assertEqual(inline_hashes(html), [expected])

    def test_the_page_refers_to_files_that_are_there(self) -> None:
        """Every file that the page names is served with its type."""
        body = self.get("/console")[2].decode()
        named = set(re.findall(r'(?:src|href)="(console-assets/[^"]+)"', body))
        self.assertGreaterEqual(len(named), 3)
        for path in named:
            status, headers, _ = self.get(f"/{path}")
            self.assertEqual(status, 200, path)
            self.assertNotIn("octet-stream", headers["content-type"])

    def test_types(self) -> None:
        """Modules and pictures have the types that browsers insist on with nosniff."""
        self.assertEqual(
            self.get("/core/rfb.js")[1]["content-type"], "text/javascript; charset=utf-8"
        )
        self.assertEqual(self.get("/console-assets/icon.svg")[1]["content-type"], "image/svg+xml")

    def test_without_novnc(self) -> None:
        """Our page is there to say that noVNC is missing."""
        self.web = WebHarness(None)
        self.assertEqual(self.get("/vnc.html")[0], 200)
        self.assertEqual(self.get("/core/rfb.js")[0], 404)


class HeaderTests(SiteTestCase):
    def test_every_answer_is_strict(self) -> None:
        """Pages, files, refusals and errors: no sniffing, no Referer, no foreign frame."""
        for target in ("/console", "/core/rfb.js", "/none", "/?token=unknown", "/core"):
            _, headers, _ = self.get(target)
            self.assertEqual(headers["x-content-type-options"], "nosniff", target)
            self.assertEqual(headers["referrer-policy"], "no-referrer")
            self.assertIn("default-src 'none'", headers["content-security-policy"])
            self.assertIn("frame-ancestors 'self'", headers["content-security-policy"])
            self.assertEqual(headers["server"], "vncproxy")

    def test_caching_asks_every_time(self) -> None:
        """A file is cached, but a browser asks whether it is still the same, by its content."""
        status, headers, _ = self.get("/core/rfb.js")
        self.assertEqual((status, headers["cache-control"]), (200, "no-cache"))
        self.assertEqual(self.get("/core/rfb.js", If_None_Match=headers["etag"])[0], 304)
        (self.novnc / "core/rfb.js").write_text("export default class RFB { }")
        new = self.get(
            "/core/rfb.js",
            If_None_Match=headers["etag"],
            If_Modified_Since="Fri, 01 Jan 2100 00:00:00 GMT",
        )
        self.assertEqual(new[0], 200)


class HostTests(SiteTestCase):
    def test_one_host(self) -> None:
        """A page needs exactly one Host, with one host (RFC 9112 §3.2)."""
        for host in ("", "a, b", "u@gateway", "gateway/", "gateway:x", "[::1", "\\", "a b"):
            status, headers, body = self.web.request("/console", {"Host": host}).answer()
            self.assertEqual((status, headers["content-type"]), (400, "application/json"), host)
            self.assertIn(b"Host", body)
        for head in (b"", b"Host: gateway\r\nHost: gateway\r\n"):
            connection = self.web.connect()
            connection.send(b"GET /console HTTP/1.1\r\n" + head + b"\r\n")
            self.assertEqual(connection.answer()[0], 400)

    def test_a_health_check_of_http_1_0(self) -> None:
        """HTTP/1.0 knows no Host, and balancers ask in it."""
        connection = self.web.connect()
        connection.send(b"GET /console HTTP/1.0\r\n\r\n")
        self.assertEqual(connection.answer()[0], 200)

    def test_a_target_with_a_host(self) -> None:
        """A target that is a URL is the same as its path, if it names the Host."""
        self.assertEqual(self.get("http://gateway:6080/console?x=1")[0], 200)
        for target in ("http://other/console", "console", "http://gateway/console"):
            self.assertEqual(self.get(target)[0], 400, target)


class ClosedDoorTests(SiteTestCase):
    def assert_nothing(self, connection: Connection) -> None:
        status, headers, body = connection.answer()
        self.assertIn(status, (400, 404), connection.value())
        self.assertNotIn("location", headers)
        self.assertNotIn(b"secret", body)

    def test_no_listing_and_no_redirect(self) -> None:
        """A directory is nothing, with and without its slash."""
        for target in ("/core", "/core/", "/console-assets", "/console-assets/", "/console/"):
            self.assert_nothing(self.web.request(target))

    def test_no_way_out(self) -> None:
        """No spelling of a path leaves the directory, or shows a dotfile."""
        for target in (
            "/../outside.txt",
            "/core/../../outside.txt",
            "/%2e%2e/outside.txt",
            "/..%2foutside.txt",
            "/%2e%2e%2foutside.txt",
            "/%252e%252e/outside.txt",
            "/..%5coutside.txt",
            "/%c0%ae%c0%ae/outside.txt",
            "/.git/config",
            "/%2egit/config",
            "/core/%00/rfb.js",
            "/rfb.js%00.html",
            f"/{self.novnc.parent.absolute()}/outside.txt",
        ):
            self.assert_nothing(self.web.request(target))

    def test_no_redirect_to_another_host(self) -> None:
        """The shapes of CVE-2021-3654 lead nowhere."""
        for slashes in ("//", "///", "////", "/\\", "/%5c", "/%2f"):
            self.assert_nothing(self.web.request(f"{slashes}evil.example/%2F.."))
            self.assert_nothing(self.web.request(f"{slashes}evil.example/core/%2e%2e"))

    def test_nothing_is_injected(self) -> None:
        """Line ends and markup in a request come back in no header and no page."""
        for target in ("/x%0d%0aSet-Cookie:%20a=b", "/?x=%0d%0aX-Bad:%201", "/<script>alert(1)"):
            value = self.web.request(target).value()
            self.assertNotIn(b"\r\nSet-Cookie", value)
            self.assertNotIn(b"\r\nX-Bad", value)
            self.assertNotIn(b"<script>alert", value)

    def test_other_methods(self) -> None:
        """Only GET and HEAD are answered; the answer does not repeat the URL."""
        for method in ("POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "CONNECT"):
            connection = self.web.request("/vnc.html?token=s3cret", method=method)
            status, headers, _ = connection.answer()
            self.assertEqual((status, headers["allow"]), (405, "GET, HEAD"))
            self.assertEqual(json_of(connection)["code"], "method-not-allowed")
            self.assertNotIn(b"s3cret", connection.value())

    def test_a_head(self) -> None:
        """HEAD has a GET's headers and no body."""
        connection = self.web.request("/core/rfb.js", method="HEAD")
        status, headers, body = connection.answer()
        self.assertEqual((status, headers["content-length"], body), (200, "27", b""))

    def test_endless_headers(self) -> None:
        """A header that never ends is cut off."""
        connection = self.web.connect()
        connection.send(b"GET / HTTP/1.1\r\nHost: h\r\n")
        for _ in range(70):
            connection.send(b"X-Padding: " + b"x" * 1000 + b"\r\n")
        self.assertEqual(connection.answer()[0], 431)
        self.assertTrue(connection.half_closed)

    def test_a_huge_token(self) -> None:
        """A request line of a megabyte is cut off."""
        connection = self.web.connect()
        connection.send(request_bytes("/?token=" + "x" * 1_000_000, {"Host": "h"}))
        self.assertEqual(connection.answer()[0], 414)
        self.assertTrue(connection.half_closed)

    def test_a_slow_request(self) -> None:
        """A client that does not finish its request is cut off in time."""
        connection = self.web.connect()
        connection.send(b"GET / HTTP/1.1\r\n")
        self.web.clock.advance(31)
        self.assertTrue(connection.disconnecting or connection.disconnected)


class AccessLogTests(SiteTestCase):
    def test_the_query_is_left_out(self) -> None:
        """The access log names path and status, and never a token."""
        events: list[LogEvent] = []
        observer = cast(ILogObserver, events.append)
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        self.get("/vnc.html?token=s3cret&path=%3Ftoken%3Ds3cret")
        lines = [_json_line(event) for event in events]
        self.assertTrue(any('"path": "/vnc.html"' in line for line in lines), lines)
        self.assertNotIn("s3cret", "".join(lines))

    def test_lines_of_others_are_masked(self) -> None:
        """Should a library log a URL, its token is masked on the way to the file."""
        to_line = _without_tokens(lambda event: str(event["text"]))
        line = to_line({"text": "GET /?token=s3cret&x=1 and path=%3Ftoken%3Ds3cret HTTP"})
        self.assertEqual(line, "GET /?token=***&x=1 and path=%3Ftoken%3D*** HTTP")
