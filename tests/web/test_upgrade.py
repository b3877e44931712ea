"""The token-validating resource: who gets a WebSocket, who is refused, and what that costs."""

from __future__ import annotations

from typing import Any, cast

import txaio
from twisted.internet.error import ConnectionLost
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tests.helpers import grant_for
from tests.web.harness import HANDSHAKE, Connection, WebHarness, json_of, request_bytes
from vncproxy.errors import PortCheckFailed, StoreUnavailable
from vncproxy.model import Token
from vncproxy.web.websocket import BrowserFactory

_TOKEN = "7f0c0ab0-57a6-4bb0-9c6f-2d6b9a0b8a11"
_GREETING = b"\x82\x0cRFB 003.008\n"  # a WebSocket frame


class UpgradeTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.web = WebHarness(allowed_origins=("dashboard.example",))
        # Autobahn's timers ask nobody else.
        self.patch(cast(Any, txaio).config, "loop", self.web.clock)
        self.web.store.grants[_TOKEN] = grant_for(Token(_TOKEN))

    def assert_opened(self, connection: Connection) -> None:
        status, headers, body = connection.answer()
        self.assertEqual(status, 101, connection.value())
        self.assertEqual(headers["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
        self.assertTrue(body.startswith(_GREETING), body)
        self.assertNotIn("sec-websocket-extensions", headers)

    def assert_refused(self, connection: Connection, status: int, code: str) -> str:
        self.assertEqual(connection.answer()[0], status, connection.value())
        answer = json_of(connection)
        self.assertEqual(answer["code"], code)
        self.assertTrue(answer["request_id"].startswith("req-"))
        self.assertEqual(self.web.observer.events, [f"refused {code}"])
        self.assertEqual(len(self.web.registry), 0)
        self.assertNotIn(_TOKEN.encode(), connection.value())
        return answer["message"]


class PathTests(UpgradeTestCase):
    def test_every_url_that_novnc_makes(self) -> None:
        """An upgrade is taken on whatever path, also one that names a page."""
        for path in (
            "/",
            "/websockify",
            "/vnc.html",
            "/vnc_auto.html",
            "/novnc/vnc.html",
            "/novnc/websockify",
            "//evil.example/%2e%2e",
            "/%00/../../etc/passwd",
        ):
            connection = self.web.upgrade(f"{path}?token={_TOKEN}")
            self.assert_opened(connection)

    def test_odd_queries(self) -> None:
        """A token is decoded once only, and may be said twice, or be empty beside its value."""
        for query in (
            f"token={_TOKEN}&token={_TOKEN}",
            f"token={_TOKEN}&token=",
            f"token={_TOKEN}&path=websockify%3Ftoken%3D{_TOKEN}",
            f"token={_TOKEN}&path=websockify",
            f"a=b&token={_TOKEN.replace('-', '%2D')}",
        ):
            self.assert_opened(self.web.upgrade(f"/?{query}"))
        self.web.upgrade(f"/?token={_TOKEN.replace('-', '%252D')}")
        self.assertEqual(self.web.observer.events[-1], "refused token-invalid")

    def test_two_tokens(self) -> None:
        """Two different tokens in one URL are malformed, for upgrades and for verdicts."""
        for query in (
            f"token=wrong&token={_TOKEN}",
            f"token={_TOKEN}&token=wrong",
            f"token={_TOKEN};token=wrong",
            f"token={_TOKEN}&token={_TOKEN}&%74oken=wrong",
            f"token={_TOKEN}&path=websockify%3Ftoken%3Dwrong",
            f"path=%3Fx%3D1%26token%3Dwrong&token={_TOKEN}",
        ):
            for ask in (self.web.upgrade, self.web.request):
                refused = self.assert_refused(ask(f"/?{query}"), 400, "malformed")
                self.assertIn("two different", refused)
                self.web.observer.events.clear()
        self.assertEqual(self.web.store.asked, [])

    def test_targets_with_a_host(self) -> None:
        """A target that is a URL must name the Host; any other that is no path is malformed."""
        for target in (
            *("http://evil.example/", "http://gateway/", "http://gateway:6080@evil.example/"),
            *("ftp://gateway:6080/", "gateway:6080", "http://", "http:///", "\\"),
        ):
            self.web.observer.events.clear()
            self.assert_refused(self.web.upgrade(f"{target}?token={_TOKEN}"), 400, "malformed")
        self.assert_opened(self.web.upgrade(f"http://gateway:6080/x?token={_TOKEN}"))
        self.assert_opened(self.web.upgrade(f"HTTP://gateway:6080?token={_TOKEN}"))

    def test_a_token_in_a_cookie(self) -> None:
        """Old pages keep it there; malformed parts are passed over."""
        cookie = f'junk; =; a=b; token="{_TOKEN}"; \x7f\x01'
        self.assert_opened(self.web.upgrade("/", cookie=cookie))

    def test_the_query_wins_over_the_cookie(self) -> None:
        """A bad token in the URL is not rescued by a good cookie."""
        self.web.upgrade("/?token=bad", cookie=f"token={_TOKEN}")
        self.assertEqual(self.web.observer.events, ["refused token-invalid"])


class HandshakeTests(UpgradeTestCase):
    def test_subprotocol(self) -> None:
        """`binary` is chosen where it is offered, and nothing where nothing is."""
        connection = self.web.upgrade(f"/?token={_TOKEN}", sec_websocket_protocol="base64, binary")
        self.assertEqual(connection.answer()[1]["sec-websocket-protocol"], "binary")
        connection = self.web.upgrade(f"/?token={_TOKEN}")
        self.assertNotIn("sec-websocket-protocol", connection.answer()[1])

    def test_compression_is_never_accepted(self) -> None:
        """RFB is compressed already, and a small frame must not become a large message."""
        extensions = "permessage-deflate; client_max_window_bits"
        connection = self.web.upgrade(f"/?token={_TOKEN}", sec_websocket_extensions=extensions)
        self.assert_opened(connection)

    def test_malformed(self) -> None:
        """Each fault of a handshake is answered 400 and named."""
        faults: list[tuple[dict[str, str | None], str]] = [
            ({"connection": "close"}, "Connection"),
            ({"sec_websocket_version": "12"}, "Sec-WebSocket-Version"),
            ({"sec_websocket_version": "8"}, "Sec-WebSocket-Version"),
            ({"sec_websocket_version": None}, "Sec-WebSocket-Version"),
            ({"sec_websocket_key": None}, "Sec-WebSocket-Key"),
            ({"sec_websocket_key": "c2hvcnQ="}, "Sec-WebSocket-Key"),
            ({"sec_websocket_key": "***"}, "Sec-WebSocket-Key"),
            ({"sec_websocket_protocol": "base64"}, "binary"),
            ({"sec_websocket_protocol": "binary, binary"}, "binary"),
            ({"host": None}, "Host"),
        ]
        for changes, named in faults:
            self.web.observer.events.clear()
            connection = self.web.upgrade(f"/?token={_TOKEN}", **changes)
            message = self.assert_refused(connection, 400, "malformed")
            self.assertIn(named, message)
        self.assertEqual(self.web.store.asked, [])

    def test_one_host_and_one_scheme(self) -> None:
        """A Host, or a balancer's scheme, of another form than its one is malformed."""
        for host in ("", "a, b", "a b", "u@a", "a/", "a:x", "::1", "[::1", "a\\b"):
            self.web.observer.events.clear()
            connection = self.web.upgrade(f"/?token={_TOKEN}", host=host)
            self.assertIn("Host", self.assert_refused(connection, 400, "malformed"))
        for scheme in ("https, http", "ftp", "https://"):
            self.web.observer.events.clear()
            connection = self.web.upgrade(f"/?token={_TOKEN}", x_forwarded_proto=scheme)
            self.assertIn("Proto", self.assert_refused(connection, 400, "malformed"))
        self.assertEqual(self.web.store.asked, [])

    def test_two_hosts(self) -> None:
        """Of two Host headers neither is the right one."""
        connection = self.web.connect()
        request = request_bytes(f"/?token={_TOKEN}", HANDSHAKE)
        connection.send(request[:-2] + b"Host: other\r\n\r\n")
        self.assertEqual(connection.answer()[0], 400)

    def test_http_1_0_and_post(self) -> None:
        """A WebSocket handshake is a GET of HTTP/1.1."""
        for line in (b"POST /?token=x HTTP/1.1", b"GET /?token=x HTTP/1.0"):
            self.web.observer.events.clear()
            connection = self.web.connect()
            rest = request_bytes("/", HANDSHAKE).split(b"\r\n", 1)[1]
            connection.send(line + b"\r\n" + rest)
            self.assert_refused(connection, 400, "malformed")


class OriginTests(UpgradeTestCase):
    def test_one_origin_in_its_one_form(self) -> None:
        """What only a lenient parser takes for the gateway's page is refused, in one line each."""
        for origin in (
            r"http://evil.example\@gateway:6080",
            "http://evil@gateway:6080",
            "http://gateway:6080, http://evil.example",
            *("http://gateway:6080/", "null", "", "HTTP://gateway:6080", "gateway:6080"),
        ):
            connections = [
                self.web.upgrade(f"/?token={_TOKEN}", origin=origin),
                self.verdict(Origin=origin),
                self.verdict(X_Console_Origin=origin),
                self.verdict(Origin=origin, X_Console_Origin="http://gateway"),
            ]
            self.assertEqual(self.web.observer.events, ["refused origin-refused"] * 4, origin)
            for connection in connections:
                self.assertEqual(connection.answer()[0], 403, origin)
            self.web.observer.events.clear()
        self.assertEqual(self.web.store.asked, [])

    def test_two_headers(self) -> None:
        """Of two Origin headers neither is the right one, even where they agree."""
        request = request_bytes(f"/?token={_TOKEN}", {**HANDSHAKE, "Origin": "http://gateway"})
        for second in (b"http://gateway", b"http://evil.example"):
            connection = self.web.connect()
            connection.send(request[:-2] + b"Origin: " + second + b"\r\n\r\n")
            self.assert_refused(connection, 403, "origin-refused")
            self.web.observer.events.clear()

    def test_the_gateway_s_own_pages(self) -> None:
        """A page of the same host, and one of allowed_origins, open consoles and get verdicts."""
        base = self.web.store.grants[_TOKEN].access_url_base or ""
        scheme = base.partition(":")[0]
        for host in ("gateway:6080", "gateway", "GATEWAY:1", "dashboard.example"):
            origin = f"{scheme}://{host}"
            self.assert_opened(self.web.upgrade(f"/?token={_TOKEN}", origin=origin))
            self.assertEqual(self.verdict(X_Console_Origin=origin).answer()[0], 200)

    def test_what_a_balancer_says(self) -> None:
        """X-Forwarded-Proto is one word in any case, and says nothing where it is empty."""
        scheme = (self.web.store.grants[_TOKEN].access_url_base or "").partition(":")[0]
        for said, origin in ((scheme.upper(), "x://gateway"), ("", f"{scheme}://gateway")):
            self.assert_opened(
                self.web.upgrade(f"/?token={_TOKEN}", origin=origin, x_forwarded_proto=said)
            )

    def verdict(self, **headers: str) -> Connection:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.web.request(f"/?token={_TOKEN}", {"Host": "gateway:6080", **named})


class RefusalTests(UpgradeTestCase):
    def test_no_token(self) -> None:
        """A request without a token asks the database nothing."""
        for target in ("/", "/?token=", "/websockify?path=x"):
            self.web.observer.events.clear()
            self.assert_refused(self.web.upgrade(target), 401, "no-token")
        self.assertEqual(self.web.store.asked, [])

    def test_a_foreign_origin(self) -> None:
        """A foreign page is refused before the database is asked."""
        connection = self.web.upgrade(f"/?token={_TOKEN}", origin="http://evil.example")
        self.assert_refused(connection, 403, "origin-refused")
        self.assertEqual(self.web.store.asked, [])

    def test_an_allowed_origin(self) -> None:
        """A dashboard's page may open consoles where it is configured."""
        origin = "http://dashboard.example"
        self.assert_opened(self.web.upgrade(f"/?token={_TOKEN}", origin=origin))

    def test_the_wrong_scheme(self) -> None:
        """The page's scheme must be that of the URL at issue."""
        connection = self.web.upgrade(f"/?token={_TOKEN}", origin="https://gateway:6080")
        self.assert_refused(connection, 403, "origin-refused")

    def test_in_words(self) -> None:
        """An unknown token is told in RFB, which noVNC shows, with the request's id."""
        connection = self.web.upgrade("/?token=unknown")
        self.assert_opened(connection)
        connection.clear()
        connection.send(b"\x82\x8c" + bytes(4) + b"RFB 003.008\n")
        facts = self.web.observer.facts
        assert facts is not None
        self.assertIn(f"Open the console again. ({facts.request_id})".encode(), connection.value())
        self.assertIn(b"\x11\x31This console link", connection.value())  # Close 4401

    def test_a_database_that_is_away(self) -> None:
        """The user hears that it is not the link's fault."""
        self.web.store.pending = []
        connection = self.web.upgrade(f"/?token={_TOKEN}")
        self.web.store.pending[0].errback(StoreUnavailable("down"))
        self.assertTrue(connection.answer()[2].startswith(_GREETING))
        self.assertEqual(self.web.observer.events, ["refused store-unavailable"])

    def test_a_grant_that_no_longer_holds(self) -> None:
        """Beyond the token's row the compute side must agree, and is asked last."""
        self.web.check.error = PortCheckFailed("port 5900 is another machine's now")
        self.web.upgrade(f"/?token={_TOKEN}")
        self.assertEqual(self.web.observer.events, ["refused port-check-failed"])
        self.web.upgrade("/?token=unknown")
        self.assertEqual(len(self.web.check.asked), 1)


class WaitingTests(UpgradeTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.web.store.pending = []

    def test_a_browser_that_leaves_costs_nothing(self) -> None:
        """The look-up is given up, nothing is logged, and no session begins."""
        connection = self.web.upgrade(f"/?token={_TOKEN}")
        connection.protocol.connectionLost(Failure(ConnectionLost()))
        self.assertEqual(self.web.store.cancelled, 1)
        self.assertEqual(len(self.web.registry), 0)
        self.assertEqual(connection.value(), b"")
        self.assertEqual(self.web.observer.events, [])

    def test_an_early_text_frame(self) -> None:
        """A text frame is refused with 1003, wherever it comes."""
        connection = self.web.upgrade(f"/?token={_TOKEN}")
        assert self.web.store.pending is not None
        connection.send(b"\x81\x81" + bytes(4) + b"x")
        self.web.store.pending[0].callback(grant_for(Token(_TOKEN)))
        self.assertIn(b"\x03\xebText frames are not supported", connection.value())
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_one_connection_opens_one_console(self) -> None:
        """A second request on the connection is not parsed while the first waits, nor after it."""
        assert self.web.store.pending is not None
        connection = self.web.upgrade(f"/?token={_TOKEN}")
        connection.send(request_bytes(f"/?token={_TOKEN}", HANDSHAKE))
        self.assertEqual(len(self.web.store.asked), 1)
        self.web.store.pending[0].callback(grant_for(Token(_TOKEN)))
        self.assertEqual(connection.value().count(b"HTTP/1.1 101"), 1)
        self.assertEqual(len(self.web.registry), 1)
        self.assertEqual(len(self.web.store.asked), 1)

    def test_early_frames_are_passed_on(self) -> None:
        """Bytes that come while the database answers belong to the WebSocket."""
        assert self.web.store.pending is not None
        connection = self.web.upgrade("/?token=unknown")
        connection.send(b"\x82\x8c" + bytes(4) + b"RFB 0")
        connection.send(b"03.008\n")
        self.web.store.pending[0].errback(StoreUnavailable("down"))
        self.assertIn(b"The gateway can't check console links now.", connection.value())

    def test_a_flood_of_early_bytes_is_not_read(self) -> None:
        """What a client may send before it is admitted has a limit."""
        connection = self.web.upgrade(f"/?token={_TOKEN}")
        connection.send(bytes(64 * 1024))
        self.assertEqual(connection.producerState, "paused")

    def test_the_request_s_time_out_does_not_hit_a_session(self) -> None:
        """The site's idle time-out is over once the connection is a WebSocket."""
        assert self.web.store.pending is not None
        connection = self.web.upgrade(f"/?token={_TOKEN}")
        self.web.store.pending[0].callback(grant_for(Token(_TOKEN)))
        connection.send(b"\x82\x8c" + bytes(4) + b"RFB 003.008\n")
        self.web.clock.advance(14)
        self.web.clock.advance(100)
        self.assertFalse(connection.disconnected)

    def test_a_client_that_closes_and_stays(self) -> None:
        """Whoever says Close, and does not end the connection, is dropped in 10 s."""
        connection = self.web.upgrade(f"/?token={_TOKEN}")
        assert self.web.store.pending is not None
        self.web.store.pending[0].callback(grant_for(Token(_TOKEN)))
        connection.clear()
        connection.send(b"\x88\x80" + bytes(4))
        self.assertEqual(connection.value()[:1], b"\x88")
        self.web.clock.advance(9.9)
        self.assertFalse(connection.disconnected)
        self.web.clock.advance(0.2)
        self.assertTrue(connection.disconnected)


class HeartbeatTests(UpgradeTestCase):
    def test_pings_go_out(self) -> None:
        """After each interval, as WebSocket pings; a browser that answers none is dropped."""
        websocket = BrowserFactory(1 << 20, 3, self.web.clock)
        self.web.site._upgrade._websockets = websocket  # type: ignore[attr-defined]
        connection = self.web.upgrade(f"/?token={_TOKEN}")
        connection.clear()
        self.web.clock.advance(3)
        self.assertEqual(connection.value(), b"\x89\0")
        connection.send(b"\x8a\x80" + bytes(4))  # a pong
        for _ in range(2):
            self.web.clock.advance(3)
        self.assertFalse(connection.disconnected)
        self.web.clock.advance(3)
        self.assertTrue(connection.disconnected)


class VerdictTests(UpgradeTestCase):
    """A plain GET on a console's URL says in JSON what an upgrade would meet."""

    def test_good(self) -> None:
        """A good token's verdict is 200."""
        for target in (f"/?token={_TOKEN}", f"/websockify?token={_TOKEN}"):
            connection = self.web.request(target)
            self.assertEqual(connection.answer()[0], 200)
            self.assertEqual(json_of(connection)["code"], "ok")
        self.assertEqual(self.web.observer.events, [])

    def test_bad(self) -> None:
        """A refusal has the status that fits, and is never cached."""
        connection = self.web.request("/websockify?token=unknown")
        self.assert_refused(connection, 401, "token-invalid")
        self.assertEqual(connection.answer()[1]["cache-control"], "no-store")

    def test_the_page_s_origin(self) -> None:
        """Our page names its origin, so that the verdict is that of its WebSocket."""
        headers = {"Host": "gateway:6080", "X-Console-Origin": "http://evil.example"}
        connection = self.web.request(f"/websockify?token={_TOKEN}", headers)
        self.assert_refused(connection, 403, "origin-refused")

    def test_on_a_page_s_url(self) -> None:
        """Where a page is at the URL, who accepts JSON is told the verdict."""
        headers = {"Host": "gateway:6080", "Accept": "application/json"}
        connection = self.web.request(f"/vnc_auto.html?token={_TOKEN}", headers)
        self.assertEqual(json_of(connection)["code"], "ok")
        page = self.web.request(f"/vnc_auto.html?token={_TOKEN}")
        self.assertEqual(page.answer()[1]["content-type"], "text/html; charset=utf-8")
