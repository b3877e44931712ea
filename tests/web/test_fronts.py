"""The listeners for serial and SPICE consoles: what they take, and what their pages are."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, cast

import txaio
from twisted.trial.unittest import SynchronousTestCase

from tests.helpers import grant_for
from tests.web.harness import Connection, WebHarness, json_of
from vncproxy.errors import ANSWERS
from vncproxy.kinds import KINDS, NOVNC, SERIAL, SPICE, Kind
from vncproxy.model import Ending, Token, new_request_id
from vncproxy.web.inline_hashes import inline_hashes
from vncproxy.web.site import serial_pages, spice_pages

_TOKEN = "7f0c0ab0-57a6-4bb0-9c6f-2d6b9a0b8a11"
_LONGEST_REASON = 123  # RFC 6455 §5.5


def frame(opcode: int, payload: bytes) -> bytes:
    """Return a client's frame of less than 126 bytes."""
    return bytes([0x80 | opcode, 0x80 | len(payload)]) + bytes(4) + payload


class FrontTestCase(SynchronousTestCase):
    def front(self, kind: Kind, **changes: object) -> WebHarness:
        """Return a site for this kind, with a token that opens such a console."""
        web = WebHarness(kind=kind)
        # Autobahn's timers ask nobody else.
        self.patch(cast(Any, txaio).config, "loop", web.clock)
        console_type = kind.console_type
        grant = grant_for(Token(_TOKEN), console_type=console_type, **changes)
        web.store.grants[_TOKEN] = grant
        return web

    def close_of(self, connection: Connection) -> tuple[int, str]:
        """Return code and reason of the Close frame, which is all that was sent."""
        status, _, body = connection.answer()
        self.assertEqual((status, body[0]), (101, 0x88), connection.value())
        self.assertEqual(len(body), body[1] + 2)
        return int.from_bytes(body[2:4], "big"), body[4:].decode()


class TokenTests(FrontTestCase):
    def test_the_token_must_fit_the_listener(self) -> None:
        """A token opens its own kind of console only: on another listener none."""
        for kind in KINDS.values():
            for other in set(KINDS.values()) - {kind}:
                web = self.front(kind)
                web.store.grants[_TOKEN] = grant_for(Token(_TOKEN), console_type=other.console_type)
                web.upgrade(f"/?token={_TOKEN}")
                self.assertEqual(web.observer.events, ["refused wrong-console-type"])
                verdict = json_of(web.request(f"/websockify?token={_TOKEN}"))
                self.assertEqual(verdict["code"], "wrong-console-type")

    def test_of_a_kind_that_is_never_served(self) -> None:
        """Tokens of nova's for programs of others open nothing here."""
        for console_type in ("webmks", "spice-direct", "rdp-html5", ""):
            web = self.front(SPICE)
            web.store.grants[_TOKEN] = grant_for(Token(_TOKEN), console_type=console_type)
            web.upgrade(f"/?token={_TOKEN}")
            self.assertEqual(web.observer.events, ["refused wrong-console-type"])

    def test_a_page_s_cookie(self) -> None:
        """spice-html5's page hands the token on in a cookie, for each of its channels."""
        web = self.front(SPICE)
        for channels in range(1, 5):
            web.upgrade("/websockify", cookie=f"token={_TOKEN}", sec_websocket_protocol="binary")
            self.assertEqual(len(web.registry), channels)


class RefusalTests(FrontTestCase):
    def test_the_close_says_why(self) -> None:
        """A refusal in words is a Close with its code, the words and the request's id."""
        for kind in (SERIAL, SPICE):
            web = self.front(kind)
            code, reason = self.close_of(web.upgrade("/?token=unknown"))
            assert web.observer.facts is not None
            words = ANSWERS[Ending.TOKEN_INVALID].words
            self.assertEqual((code, reason), (4401, f"{words} ({web.observer.facts.request_id})"))

    def test_every_refusal_fits_a_close(self) -> None:
        """None is cut off by the frame's limit."""
        for answer in ANSWERS.values():
            said = f"{answer.words} ({new_request_id()})"
            self.assertLessEqual(len(said.encode()), _LONGEST_REASON, said)


class FrameTests(FrontTestCase):
    def opened(self, kind: Kind, offer: str | None = None) -> tuple[Connection, WebHarness]:
        web = self.front(kind)
        connection = web.upgrade(f"/?token={_TOKEN}", sec_websocket_protocol=offer)
        self.assertEqual(connection.answer()[0], 101)
        return connection, web

    def test_what_serial_clients_offer(self) -> None:
        """Horizon's page and nova's sample client offer base64 too; others nothing."""
        chosen = {"binary, base64": "binary", "binary": "binary", None: None}
        for offer, protocol in chosen.items():
            connection, _ = self.opened(SERIAL, offer)
            headers = connection.answer()[1]
            self.assertEqual(headers.get("sec-websocket-protocol"), protocol)

    def test_text_on_a_serial_console(self) -> None:
        """Old versions of Horizon's page send keys as text frames: they are the keys' UTF-8."""
        connection, web = self.opened(SERIAL)
        connection.clear()
        connection.send(frame(1, "ü\r".encode()) + frame(2, b"\x1b[A"))
        self.assertEqual(connection.value(), b"")
        (session,) = web.registry
        self.assertIsNone(session.facts.ending)

    def test_text_that_is_no_utf_8(self) -> None:
        """It breaks the WebSocket protocol, and is closed with 1007."""
        connection, _ = self.opened(SERIAL)
        connection.clear()
        connection.send(frame(1, b"\xff"))
        self.assertEqual(connection.value()[2:4], (1007).to_bytes(2, "big"))

    def test_text_elsewhere(self) -> None:
        """VNC and SPICE are binary: a text frame is refused with 1003."""
        for kind in (NOVNC, SPICE):
            connection, _ = self.opened(kind)
            connection.send(frame(1, b"x"))
            self.assertIn(b"\x03\xebText frames are not supported", connection.value())


class OriginTests(FrontTestCase):
    def test_a_base_url_of_ws(self) -> None:
        """It goes with pages of http, and wss with those of https."""
        for base, origin, event in (
            ("ws://gateway:6083/", "http://gateway:6083", "started"),
            ("ws://gateway:6083/", "ws://gateway:6083", "started"),
            ("ws://gateway:6083/", "https://gateway:6083", "refused origin-refused"),
            ("wss://gateway/", "https://gateway", "started"),
            ("wss://gateway/", "http://gateway", "refused origin-refused"),
        ):
            web = self.front(SERIAL, access_url_base=base)
            web.upgrade(f"/?token={_TOKEN}", origin=origin)
            self.assertEqual(web.observer.events, [event], (base, origin))


class SerialPageTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.xterm = Path(self.mktemp())
        (self.xterm / "lib").mkdir(parents=True)
        (self.xterm / "lib/xterm.js").write_text("globalThis.Terminal = class {}")
        self.web = WebHarness(self.xterm, kind=SERIAL, pages=serial_pages)

    def test_the_terminal(self) -> None:
        """It stands at / also with a token, which a browser opens there."""
        for target in ("/", "/console", f"/?token={_TOKEN}"):
            headers = {"Host": "gateway", "Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
            status, answered, body = self.web.request(target, headers).answer()
            self.assertEqual(status, 200)
            self.assertIn(b"console-assets/serial.js", body)
            policy = answered["content-security-policy"]
            self.assertIn("script-src 'self';", policy)
            self.assertIn("style-src 'self' 'unsafe-inline';", policy)

    def test_xterm(self) -> None:
        """Its files are served; without its directory they are not, and the page still is."""
        self.assertEqual(self.web.request("/xterm/lib/xterm.js").answer()[0], 200)
        bare = WebHarness(None, kind=SERIAL, pages=serial_pages)
        self.assertEqual(bare.request("/xterm/lib/xterm.js").answer()[0], 404)
        self.assertEqual(bare.request("/").answer()[0], 200)

    def test_the_page_refers_to_files_that_are_there(self) -> None:
        """Everything it names of ours is served."""
        page = self.web.request("/").answer()[2].decode()
        for name in re.findall(r'(?:src|href)="(console-assets/[^"]+)"', page):
            self.assertEqual(self.web.request(f"/{name}").answer()[0], 200, name)

    def test_the_verdict(self) -> None:
        """Who asks for JSON is still told what a WebSocket would meet."""
        answer = json_of(self.web.request("/?token=unknown", {"Host": "g", "Accept": "*/*"}))
        self.assertEqual(answer["code"], "token-invalid")


class SpicePageTests(SynchronousTestCase):
    def test_its_files(self) -> None:
        """The page that nova's URLs name, also at /; and its handlers in attributes may run."""
        spice = Path(self.mktemp())
        spice.mkdir()
        text = "<p style='width: 0'><button onclick=\"alert('Hello, world.');\">x</button>"
        (spice / "spice_auto.html").write_text(text)
        web = WebHarness(spice, kind=SPICE, pages=spice_pages)
        for target in ("/", "/spice_auto.html"):
            status, headers, body = web.request(target).answer()
            self.assertEqual((status, body.decode()), (200, text))
            policy = headers["content-security-policy"]
            self.assertEqual(policy.count("'unsafe-hashes'"), 2)
            self.assertIn("'sha256-qznLcsROx4GACP2dm0UCKCzCG+HiZ1guq6ZZDob/Tng='", policy)
            self.assertNotIn("'unsafe-inline'", policy)

    def test_only_attributes_need_unsafe_hashes(self) -> None:
        """A page without them gets no such permission."""
        self.assertNotIn("'unsafe-hashes'", inline_hashes("<p class=onions><script>x</script>"))

    def test_none(self) -> None:
        """Without spice-html5 there is no page, and consoles open all the same."""
        web = WebHarness(None, kind=SPICE, pages=spice_pages)
        self.assertEqual(web.request("/spice_auto.html").answer()[0], 404)
