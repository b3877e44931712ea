"""Headers of any bytes, on each of the sites: an answer, one line in the log, no fault of ours."""

from __future__ import annotations

import unittest
from typing import Any, cast

import txaio
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import succeed
from twisted.internet.testing import EventLoggingObserver
from twisted.logger import LogLevel, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http_headers import Headers
from twisted.web.server import Site

from tests.console_api.harness import ApiTestCase
from tests.helpers import grant_for
from tests.web.harness import HANDSHAKE, Connection, WebHarness, connected_to, hardening_for
from vncproxy.edge.networks import TrustedProxies
from vncproxy.metrics.exposition import metrics_root
from vncproxy.model import Token
from vncproxy.web.forwarding import Forwarding
from vncproxy.web.headers import fault_in, text_of
from vncproxy.web.server import HardenedSite

_NAMES = (
    *("Host", "Origin", "Accept", "Cookie", "Connection", "Upgrade", "User-Agent", "Referer"),
    *("X-Forwarded-For", "X-Forwarded-Proto", "Forwarded", "X-Console-Origin", "X-Unknown"),
    *("X-Auth-Token", "Authorization", "Content-Type", "X-OpenStack-Nova-API-Version"),
    *("OpenStack-API-Version", "If-None-Match", "If-Modified-Since", "Range", "Expect"),
    *("Sec-WebSocket-Key", "Sec-WebSocket-Version", "Sec-WebSocket-Protocol"),
    *("Sec-WebSocket-Extensions", "Content-Length", "Transfer-Encoding", "Accept-Encoding"),
)
_TARGETS = ("/", "/console", "/?token=good", "/websockify?token=bad", "/metrics", "/v2.1/servers")
_REFUSED = "a request of {peer} is answered by {status}: {why}{others}"


class EverySite(ApiTestCase):
    """The three kinds of site, in memory."""

    def setUp(self) -> None:
        """Build them."""
        super().setUp()
        trusted = Forwarding(TrustedProxies(["192.0.2.1"]), "forwarded")
        self.web = WebHarness(forwarding=trusted)
        # Autobahn's timers ask nobody else.
        self.patch(cast(Any, txaio).config, "loop", self.web.clock)
        self.web.store.grants["good"] = grant_for(Token("good"))
        metrics = HardenedSite(
            metrics_root(lambda: succeed(b"vncproxy_sessions 0\n"), self.clock),
            hardening_for(self.clock),
        )
        self.sites: dict[str, Site] = {
            "consoles": self.web.site,
            "api": self.site,
            "metrics": metrics,
        }
        self.log = EventLoggingObserver.createWithCleanup(cast(Any, self), globalLogPublisher)

    def ask_of(self, site: str, target: bytes, *lines: bytes, method: bytes = b"GET") -> Connection:
        """Send a request of these header lines to a site."""
        connection = connected_to(self.sites[site])
        connection.send(b"\r\n".join([method + b" " + target + b" HTTP/1.1", *lines, b"", b""]))
        self.clock.advance(0)
        return connection

    def assert_no_fault(self, connection: Connection) -> None:
        """Check that what was answered, if anything was, is no fault of ours."""
        if connection.value():
            status = int(connection.value().split(b" ", 2)[1])
            self.assertLess(status, 500, connection.value())
        self.assertEqual([event for event in self.log if "log_failure" in event], [])


class AnyBytesTests(EverySite):
    @settings(max_examples=400)
    @given(
        st.sampled_from(["consoles", "api", "metrics"]),
        st.sampled_from(_TARGETS),
        st.sampled_from(["GET", "HEAD", "POST", "OPTIONS"]),
        st.lists(
            st.tuples(st.sampled_from(_NAMES), st.binary(max_size=40)), min_size=1, max_size=3
        ),
        st.booleans(),
    )
    def test_any_value_of_any_header(
        self,
        site: str,
        target: str,
        method: str,
        changed: list[tuple[str, bytes]],
        upgrades: bool,
    ) -> None:
        """Nothing that stands in a header makes the gateway fail."""
        first = HANDSHAKE if upgrades else {"Host": "gateway", "X-Auth-Token": "root-token"}
        kept = [(n, v.encode()) for n, v in first.items() if n not in dict(changed)]
        lines = [name.encode() + b": " + value for name, value in [*kept, *changed]]
        self.assert_no_fault(self.ask_of(site, target.encode(), *lines, method=method.encode()))

    @settings(max_examples=300)
    @given(st.sampled_from(["consoles", "api", "metrics"]), st.binary(max_size=200))
    def test_any_bytes(self, site: str, data: bytes) -> None:
        """Nor does anything else that a connection may bring."""
        for sent in (data, b"POST /?" + data, b"GET / HTTP/1.1\r\n" + data):
            connection = connected_to(self.sites[site])
            connection.send(sent)
            connection.send(b"\r\n\r\n")
            self.clock.advance(0)
            self.assert_no_fault(connection)


class RefusedTests(EverySite):
    def assert_refused(self, why: str, *lines: bytes, target: bytes = b"/") -> None:
        for site in self.sites:
            self.clock.advance(60)
            self.web.clock.advance(60)
            told = len([event for event in self.log if event.get("log_format") == _REFUSED])
            connection = self.ask_of(site, target, *lines)
            status, headers, body = connection.answer()
            self.assertEqual(status, 400, (site, connection.value()))
            self.assertIn(why, body.decode())
            self.assertEqual(headers["content-length"], str(len(body)))
            self.assertTrue(connection.disconnecting)
            lines_now = [event for event in self.log if event.get("log_format") == _REFUSED]
            self.assertEqual(len(lines_now), told + 1)
            self.assertEqual(lines_now[-1]["why"], why)
            self.assert_no_fault(connection)

    def test_bytes_that_are_no_text(self) -> None:
        """They are refused in each header that is read, with its name."""
        for name in (b"Origin", b"Accept", b"X-Forwarded-For", b"Forwarded", b"Content-Type"):
            why = f"the {name.decode()} header is not ASCII"
            self.assert_refused(why, b"Host: g", name + b": \xff")
            self.assert_refused(why, b"Host: g", name + b": caf\xc3\xa9")
        self.assert_refused("the Host header is not ASCII", b"Host: \xff")
        for name in (b"X-Auth-Token", b"Authorization"):
            why = f"the {name.decode()} header is not UTF-8"
            self.assert_refused(why, b"Host: g", name + b": \xff")

    def test_twice(self) -> None:
        """What a request has once is refused where it stands twice."""
        for name in (b"Host", b"Authorization", b"X-Auth-Token", b"Content-Type"):
            why = f"there are 2 {name.decode()} headers"
            rest = () if name == b"Host" else (b"Host: g",)
            self.assert_refused(why, *rest, name + b": a", name + b": a")

    def test_a_malformed_request(self) -> None:
        """What the parser refuses is told in the same way."""
        self.assert_refused("the headers are malformed", b"no colon")
        self.assert_refused("the headers are malformed", b"Content-Length: x")
        self.assert_refused("the headers are malformed", b"a b: c")
        self.assert_refused("the request line is malformed", target=b"/ /")
        self.assert_refused("the request line is not ASCII", b"Host: g", target=b"/?\x81")

    def test_a_malformed_body(self) -> None:
        """A chunk without a length is told too."""
        connection = self.ask_of("api", b"/", b"Host: g", b"Transfer-Encoding: chunked")
        connection.send(b"zz\r\n")
        self.assertEqual(connection.answer()[0], 400)
        self.assertIn(b"the body is malformed", connection.value())

    def test_what_nobody_reads_may_be_anything(self) -> None:
        """Another program's cookie of other bytes keeps no user from a console."""
        for line in (b"Cookie: a=\xff; b", b"User-Agent: caf\xe9", b"X-Unknown: \xff\xfe"):
            connection = self.ask_of("consoles", b"/console", b"Host: g", line)
            self.assertEqual(connection.answer()[0], 200, line)

    def test_the_cost_of_a_refusal(self) -> None:
        """Of a thousand in a minute one makes a warning, and the next minute's tells of them."""
        for _ in range(1000):
            self.ask_of("consoles", b"/", b"Host: g", b"Origin: \xff")
        lines = [event for event in self.log if event.get("log_format") == _REFUSED]
        warnings = [event for event in lines if event["log_level"] is LogLevel.warn]
        self.assertEqual((len(lines), len(warnings)), (1000, 1))
        self.web.clock.advance(60)
        self.ask_of("consoles", b"/", b"Host: g", b"Origin: \xff")
        self.assertEqual(
            self.log._events[-1]["others"], " (and 999 like it since the last warning)"
        )
        self.assertEqual(self.web.pending.bad_requests.by_status, {400: 1001})


class TooLargeTests(EverySite):
    def assert_too_large(self, status: int, connection: Connection) -> None:
        answered, _, body = connection.answer()
        self.assertEqual(answered, status)
        self.assertIn(b"64 KiB", body)
        self.assertTrue(connection.half_closed)  # so that who still sends can read it
        self.assertIn("larger than max_request_size", str(self.log._events[-1]["why"]))
        connection.send(b"X: y\r\n" * 100)
        self.assertEqual(connection.value().count(b"HTTP/1.1"), 1)

    def test_a_header_line(self) -> None:
        """One of 16 KiB is taken; one of 64 KiB is not, however it comes."""
        cookie = b"Cookie: " + b"x" * 16384
        for site in self.sites:
            connection = self.ask_of(site, b"/", b"Host: g", cookie, cookie.replace(b"C", b"D"))
            self.assertNotEqual(connection.answer()[0], 431)
            self.assert_too_large(
                431, self.ask_of(site, b"/", b"Host: g", b"Cookie: " + bytes(65536))
            )
            connection = connected_to(self.sites[site])
            connection.send(b"GET / HTTP/1.1\r\nCookie: ")
            for _ in range(70):
                connection.send(b"x" * 1000)
            self.assert_too_large(431, connection)

    def test_many_header_lines(self) -> None:
        """They are counted together; nor may there be more than 500."""
        lines = [b"X-%d: " % number + b"x" * 1000 for number in range(70)]
        for site in self.sites:
            self.assert_too_large(431, self.ask_of(site, b"/", b"Host: g", *lines))
            connection = self.ask_of(site, b"/", *[b"X: y"] * 501)
            self.assertEqual(connection.answer()[0], 431)

    def test_a_long_url(self) -> None:
        """It has a status of its own."""
        for site in self.sites:
            self.assert_too_large(414, self.ask_of(site, b"/" + b"x" * 65536))
            connection = connected_to(self.sites[site])
            connection.send(b"GET /" + b"x" * 70000)
            self.assert_too_large(414, connection)


class HeadTests(EverySite):
    def test_it_writes_nothing_into_the_log(self) -> None:
        """It has a GET's headers, no body, and no line about that in the log."""
        for site, target in (
            ("consoles", b"/console"),
            ("consoles", b"/none"),
            ("consoles", b"/console-limits"),
            ("api", b"/none"),
            ("metrics", b"/none"),
            ("metrics", b"/"),
        ):
            _, headers, body = self.ask_of(site, target, b"Host: g").answer()
            connection = self.ask_of(site, target, b"Host: g", method=b"HEAD")
            _, same, nothing = connection.answer()
            self.assertEqual(nothing, b"", target)
            self.assertEqual(same["content-length"], str(len(body)), (site, target))
            for name in ("date", "x-openstack-request-id", "x-compute-request-id"):
                headers.pop(name, None)
                same.pop(name, None)
            self.assertEqual(same, headers)
        said = [event for event in self.log if "HEAD" in str(event.get("log_format"))]
        self.assertEqual(said, [])


class JudgeTests(unittest.TestCase):
    def test_which_headers(self) -> None:
        """Whoever reads a header that nobody judges is told when it is tried."""
        self.assertIsNone(fault_in(Headers({b"cookie": [b"\xff"], b"origin": [b"http://h"]})))
        with self.assertRaises(LookupError):
            text_of(cast(Any, None), "cookie")


class WhoReadsTests(SynchronousTestCase):
    def test_nobody_decodes_by_himself(self) -> None:
        """Twisted's getHeader decodes what nobody has judged; it is used nowhere."""
        from pathlib import Path

        import vncproxy

        package = Path(vncproxy.__file__).parent
        found = [
            str(file.relative_to(package))
            for file in package.rglob("*.py")
            if ".getHeader(" in file.read_text()
        ]
        self.assertEqual(found, [])
