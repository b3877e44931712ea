"""Tokens shown, bad input, callers and their limits, the audit, and the page."""

from __future__ import annotations

import re

from tests.console_api.harness import (
    ALICE,
    CONSOLE,
    IDS,
    LAB,
    NOW,
    OPEN_WEB,
    ROOT,
    WEB,
    ApiTestCase,
    token_in,
)
from vncproxy.console_api.callers import Caller
from vncproxy.model import Token

_NOBODY = "bbbbbbbb-bbbb-4bbb-8bbb-bbbbbbbbbbbb"
_OURS = "vnc_abcdefghijklmnopqrstuvwxyz-ABCDEFGHIJKLMNOP"


class TokenTests(ApiTestCase):
    def show(self, token: str, version: str = "2.31", **more: object) -> object:
        path = f"/v2.1/os-console-auth-tokens/{token}"
        return self.ask("GET", path, version=version, **more)[2]

    def test_a_token(self) -> None:
        """What it opens; 2.99 says the same of ours."""
        _, _, body = self.ask(*OPEN_WEB)
        token = token_in(body["remote_console"]["url"]).text
        expected = {
            "console": {
                "instance_uuid": WEB.id,
                "host": "10.0.0.5",
                "port": 5900,
                "internal_access_path": "/connect",
            }
        }
        self.assertEqual(self.show(token), expected)
        self.assertEqual(self.show(token, "2.99"), expected)
        self.assertNotIn(token, "\n".join(self.lines))
        self.assertIn(f"/os-console-auth-tokens/{Token(token).id}: 200", self.lines[-1])

    def test_no_token_in_the_log(self) -> None:
        """Wherever in a request one is put: by its shape it is known, and not by its place."""
        _, _, body = self.ask(*OPEN_WEB)
        token = token_in(body["remote_console"]["url"]).text
        names = ["os-console-auth-tokens", "OS-Console-Auth-Tokens", "os-console-auth-token", "x"]
        written = (token, token.upper(), token.replace("-", ""), f"%36{token[1:]}", _OURS)
        routes = [
            ("GET", f"{before}{name}{slashes}{secret}{behind}", None)
            for secret in (*written, f"%252536{token[1:]}")
            for name in [*names, "servers", "servers/web", "servers/web/os-console-auth-tokens"]
            for before in ("/v2.1/", "/v2.1/demo/", "//", "/nova/v2.1//", "/v2.1/0a/")
            for slashes in ("/", "//", "%2F")
            for behind in ("", "/x", f"?token={token}", f"/{token}")
        ]
        for route in routes:
            self.assert_masked(token, *route)
        others: list[tuple[str, str, object]] = [
            *(("GET", f"/v2.1/{secret}", None) for secret in written),
            *(("POST", f"/v2.1/servers/{secret}/remote-consoles", CONSOLE) for secret in written),
            *(
                ("GET", f"/v2.1/servers?{name}={token}", None)
                for name in ("marker", "limit", "name", "uuid", "host", "x", token)
            ),
            *(
                (*OPEN_WEB[:2], {"remote_console": {**CONSOLE["remote_console"], key: token}})
                for key in ("protocol", "type", "vncproxy", token)
            ),
        ]
        for other in others:
            for version in ("2.6", "2.99", token, f"2.{token}"):
                for user in (ROOT, ALICE, None, _OURS, token):
                    self.assert_masked(token, *other, version=version, token=user)

    def assert_masked(self, secret: str, *request: object, **more: str | None) -> None:
        """Check that the request's one line holds neither a console token nor an API token."""
        self.lines.clear()
        self.send(*request, Referer=f"http://gateway.example/?token={secret}", **more)  # type: ignore[arg-type]
        self.clock.advance(1)
        (line,) = self.lines
        for part in (secret, secret[14:], secret[14:].replace("-", ""), _OURS[10:]):
            self.assertNotIn(part.lower(), line.lower(), request)

    def test_what_the_log_shows(self) -> None:
        """Enough to find a server and a route by; in full what is one of the caller's servers."""
        for path, shown in (
            (f"/v2.1/servers/{WEB.id}", f"/servers/{WEB.id}: 200"),
            ("/v2.1/servers/..%2Fetc", "/servers/..%2Fetc: 404"),
            (f"/v2.1/servers/{_NOBODY}", "/servers/bbbbbbbb-***: 404"),
            ("/v2.1/os-keypairs", "/os-keypairs: 404"),
            ("/v2.1/flavors/detail", "/flavors/detail: 404"),
            ("/v2.1/images/17", f"/images/{Token('17').id}: 404"),
        ):
            self.ask("GET", path)
            self.assertIn(f"GET {shown} in", self.lines[-1])
        self.ask("GET", f"/v2.1/servers/{_NOBODY}")
        self.assertIn("Server bbbbbbbb-*** could not be found", self.lines[-1])

    def test_refusals(self) -> None:
        """Unknown, too early a microversion, a query, and a caller who is no operator."""
        path = "/v2.1/os-console-auth-tokens/nobody"
        self.assert_fault(404, "itemNotFound", "Token not found", "GET", path, version="2.31")
        self.assert_fault(400, "badRequest", "2.31", "GET", path, version="2.30")
        self.assert_fault(400, "badRequest", "query", "GET", f"{path}?a=b", version="2.99")
        self.assert_fault(403, "forbidden", "", "GET", path, version="2.31", token=ALICE)


class BadInputTests(ApiTestCase):
    def test_no_json(self) -> None:
        """Malformed, of another type, or none."""
        self.assert_fault(400, "badRequest", "no JSON", *OPEN_WEB[:2], b'{"remote_console": ')
        self.assert_fault(400, "badRequest", "no JSON", *OPEN_WEB[:2], b"[" * 60000)
        for content_type in ("text/plain", "application/x-www-form-urlencoded", None):
            self.assert_fault(
                415, "badMediaType", "application/json", *OPEN_WEB, Content_Type=content_type
            )
        utf8 = "application/json; charset=utf-8"
        self.assertEqual(self.ask(*OPEN_WEB, Content_Type=utf8)[0], 200)

    def test_unknown_fields(self) -> None:
        """Are named."""
        body = {"remote_console": {**CONSOLE["remote_console"], "host": "10.0.0.9"}}
        self.assert_fault(400, "badRequest", "'host' was unexpected", *OPEN_WEB[:2], body)

    def test_a_large_body(self) -> None:
        """Refused before it comes where its length is told, else as soon as it is too long."""
        for headers in ({"Content_Length": "65537"}, {"Transfer_Encoding": "chunked"}):
            connection = self.send(*OPEN_WEB[:2], Content_Type="application/json", **headers)
            if "Content_Length" not in headers:
                self.assertEqual(connection.value(), b"")
                connection.send(b"10000\r\n" + bytes(0x10000) + b"\r\n1\r\n1\r\n0\r\n\r\n")
            self.assertEqual(connection.answer()[0], 413)
        self.assertEqual(self.table.live(), [])

    def test_hostile_names(self) -> None:
        """Dots, SQL and HTML are names like others; a server that is called so opens."""
        for name in ("..%2F..%2Fetc", "%3Cscript%3E", "'%3B%20DROP%20TABLE%20x", "%00", "a%0Ab"):
            path = f"/v2.1/servers/{name}/remote-consoles"
            self.assert_fault(404, "itemNotFound", "could not be found", "POST", path, CONSOLE)
            self.assertNotIn("\n", self.lines[-1])
        odd = "..%2F%3Cb%3E'%20OR%201%3D1%20--"
        self.assertEqual(self.get(f"/v2.1/servers/{odd}")["server"]["id"], IDS[6])
        status, headers, _ = self.ask("POST", f"/servers/{odd}/remote-consoles", CONSOLE)
        self.assertEqual((status, headers["content-type"]), (200, "application/json"))
        self.assertEqual(headers["x-content-type-options"], "nosniff")

    def test_a_database_that_fails(self) -> None:
        """503, and the reason only in the log."""
        self.threads._wait = True
        connection = self.send(*OPEN_WEB)
        self.clock.advance(6)
        status, _, body = connection.answer()
        self.assertEqual((status, b"serviceUnavailable" in body), (503, True))
        self.assertIn("did not answer in 5 s", self.lines[-1])


class CallerTests(ApiTestCase):
    def test_nobody(self) -> None:
        """401 that says how, and another for a token that is nobody's."""
        for token, words in ((None, "Say who you are"), ("guess", "not known")):
            status, headers, body = self.ask("GET", "/servers", token=token)
            self.assertEqual((status, list(body)), (401, ["unauthorized"]))
            self.assertEqual(headers["www-authenticate"], 'Bearer realm="vncproxy"')
            self.assertIn(words, body["unauthorized"]["message"])
            self.assertNotIn("guess", "\n".join(self.lines))

    def test_who_asks_too_often(self) -> None:
        """429 with the time to wait; another caller does not notice."""
        for _ in range(30):
            self.assertEqual(self.ask("GET", "/servers")[0], 200)
        status, headers, body = self.ask("GET", "/servers")
        self.assertEqual((status, list(body), headers["retry-after"]), (429, ["overLimit"], "1"))
        self.assertEqual(self.ask("GET", "/servers", token=ALICE)[0], 200)
        self.clock.advance(1)
        self.assertEqual(self.ask("GET", "/servers")[0], 200)

    def test_who_guesses(self) -> None:
        """Their address has to wait with its next guess; those without a token are no guesses."""
        for _ in range(5):
            self.assertEqual(self.ask("GET", "/servers", token=None)[0], 401)
        for _ in range(3):
            self.assertEqual(self.ask("GET", "/servers", token="guess")[0], 401)
        status, headers, body = self.ask("GET", "/servers", token="guess")
        self.assertEqual((status, list(body), headers["retry-after"]), (429, ["overLimit"], "1"))
        self.clock.advance(1)
        self.assertEqual(self.ask("GET", "/servers", token="guess")[0], 401)
        self.assertEqual(self.ask("GET", "/servers", token="guess")[1]["retry-after"], "2")

    def test_a_good_token_beside_one_who_guesses(self) -> None:
        """A good token of the same address, a balancer's maybe, is let in all the same."""
        self.keystone.known = {"kim's": Caller("kim", admin=True), "new": Caller("new")}
        self.assertEqual(self.ask("GET", "/servers", token="kim's")[0], 200)
        for guess in range(10):
            self.ask("GET", "/servers", token=f"guess {guess}")
        self.assertEqual(self.ask("GET", "/servers", token="guess")[0], 429)
        for token in (ROOT, ALICE, "kim's"):
            self.assertEqual(self.ask("GET", "/servers", token=token)[0], 200, token)
        # One that was never seen before is no better than a guess, until it is looked up.
        self.assertEqual(self.ask("GET", "/servers", token="new")[0], 429)
        self.assertEqual(self.ask("GET", "/servers", token="new", client="192.0.2.2")[0], 200)

    def test_clients_by_their_networks(self) -> None:
        """An IPv6 client has a /64 to guess from, and is one client all the same."""
        for host in range(3):
            client = f"2001:db8::{host + 1}"
            self.assertEqual(self.ask("GET", "/servers", token="guess", client=client)[0], 401)
        for client, status in (("2001:db8::ffff", 429), ("2001:db8:0:1::1", 401)):
            answered = self.ask("GET", "/servers", token="guess", client=client)[0]
            self.assertEqual(answered, status, client)

    def test_a_known_user_without_rights(self) -> None:
        """403, with why; not a guess, and not more often than others."""
        self.keystone.known = {"reader's": Caller("reader", refusal="Members only.")}
        for _ in range(30):
            status, _, body = self.ask("GET", "/servers", token="reader's")
            self.assertEqual((status, body["forbidden"]["message"]), (403, "Members only."))
        self.assertEqual(self.ask("GET", "/servers", token="reader's")[0], 429)

    def test_the_audit(self) -> None:
        """One line a request: who, from where, what, how it went, and about what."""
        self.ask(*OPEN_WEB)
        (line,) = self.lines
        (grant,) = self.table.live()
        self.assertRegex(
            line,
            r"^req-\S{36} root at 192\.0\.2\.1: POST /servers/web/remote-consoles: 200 in 0 ms: "
            rf"novnc of web \({WEB.id}\), token {grant.token_id} until {NOW + 600}$",
        )
        self.ask("GET", f"/servers/{LAB.id}", token=None)
        self.assertRegex(self.lines[-1], r"^req-\S{36} - at 192\.0\.2\.1: GET /servers/\S+: 401 in")


class PageTests(ApiTestCase):
    def test_for_people(self) -> None:
        """A browser gets the page, with a policy that lets it load its own files only."""
        status, headers, body = self.send("GET", "/", token=None, Accept="text/html,*/*").answer()
        self.assertEqual((status, headers["content-type"]), (200, "text/html; charset=utf-8"))
        self.assertEqual(headers["vary"], "Accept")
        policy = headers["content-security-policy"]
        self.assertNotIn("unsafe", policy)
        self.assertNotIn("sha256", policy)
        self.assertIn("frame-ancestors 'none'", policy)
        named = set(re.findall(r'(?:src|href)="(api-assets/[^"]+)"', body.decode()))
        self.assertEqual(len(named), 3)
        for path in named:
            status, headers, _ = self.send("GET", f"/{path}", token=None).answer()
            self.assertEqual(status, 200, path)
            self.assertNotIn("octet-stream", headers["content-type"])

    def test_a_page_that_is_cached(self) -> None:
        """A 304 has the headers of the 200 for which it stands, the policy above all."""
        for path in ("/", "/api-assets/servers.js"):
            _, headers, _ = self.send("GET", path, token=None, Accept="text/html").answer()
            again = self.send(
                "GET", path, token=None, Accept="text/html", If_None_Match=headers["etag"]
            )
            status, same, _ = again.answer()
            headers.pop("content-length")
            self.assertEqual((status, {**same, "date": ""}), (304, {**headers, "date": ""}), path)

    def test_nothing_else(self) -> None:
        """No way out of the page's directory."""
        for path in (
            "/api-assets/",
            "/api-assets/..%2Fapi.py",
            "/api-assets/../api.py",
            "/api-assets/x%2f..%2f..%2fapi.py",
            "/api-assets/%2e%2e/api.py",
            "/api-assets/..%5capi.py",
        ):
            status, _, body = self.send("GET", path, token=None).answer()
            self.assertIn(status, (401, 404), path)
            self.assertNotIn(b"import", body)
