"""Whose pages may open consoles: one form of an origin, and the table of cases."""

from __future__ import annotations

import string

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from vncproxy.errors import OriginRefused
from vncproxy.web.authority import Authority
from vncproxy.web.origin import Origin, OriginRules

_HTTP, _HTTPS = "http://h/vnc_auto.html", "https://h/vnc_auto.html"

# (Origin, Host, what X-Forwarded-Proto says, access_url_base)
_Case = tuple[str | None, str | None, str | None, str | None]
_ACCEPTED: list[_Case] = [
    (None, "gateway:6080", None, _HTTP),  # no browser
    (None, None, None, None),
    ("http://gateway:6080", "gateway:6080", None, _HTTP),
    ("http://gateway", "gateway:6080", None, _HTTP),  # ports are not compared
    ("http://GateWay", "gateway", None, _HTTP),
    ("http://gateway", "GateWay:6080", None, _HTTP),
    ("http://[::1]:6080", "[::1]:6080", None, _HTTP),
    ("http://[fe80::1]", "[FE80::1]", None, _HTTP),
    ("https://dashboard.example", "gateway:6080", None, _HTTPS),
    ("http://gateway", "gateway", "https", _HTTPS),
    ("https://gateway", "gateway", None, "wss://h/"),
    ("http://gateway", "gateway", None, "ws://h/"),
    ("ws://gateway", "gateway", None, "ws://h/"),
    ("https://gateway:8443", "gateway", None, "HTTPS://h/"),
    ("http://[2001:db8::7]:80", "other", None, _HTTP),  # in allowed_origins
    ("http://other.example", "h", None, _HTTP),  # in allowed_origins, in capitals there
    ("https://xn--mnchen-3ya.example", "xn--mnchen-3ya.example", None, _HTTPS),
    (None, "gateway", "https", None),
    ("https://[::1]", "[::1]", None, "https://[h"),  # no more of the base URL is looked at
]
_REFUSED: list[_Case] = [
    ("http://evil.example", "gateway", None, _HTTP),
    ("http://gateway.evil.example", "gateway", None, _HTTP),
    ("http://evil-dashboard.example", "gateway", None, _HTTP),
    ("https://dashboard.example.evil.example", "gateway", None, _HTTPS),
    ("http://gateway", None, None, _HTTP),
    ("https://gateway", "gateway", None, _HTTP),
    ("http://gateway", "gateway", None, _HTTPS),
    ("https://gateway", "gateway", "http", _HTTPS),
    ("https://gateway", "gateway", None, "ws://h/"),
    ("http://gateway", "gateway", None, None),
    ("file://gateway", "gateway", None, _HTTP),
    ("moz-extension://0a1b2c3d-4e5f-6789-abcd-ef0123456789", "gateway", None, _HTTP),
    ("chrome-extension://gateway", "gateway", None, _HTTP),
    ("wss://gateway", "gateway", None, "ws://h/"),
    ("http://gateway", "gateway", None, "wss://h/"),
    ("http://gateway", "gateway", None, "no URL"),
    ("http://gateway", "gateway", None, "http//h"),
    ("http://gateway", "gateway", None, "http"),
    ("http://gateway", "gateway", None, ""),
    ("chrome-extension://gateway", "gateway", None, "chrome-extension://h/"),
    ("http://gateway", "gateway", "https", _HTTP),
    ("http://gateway", "gateway", "wss", _HTTPS),
    ("http://gateway.", "gateway", None, _HTTP),
    ("http://[0:0:0:0:0:0:0:1]", "[::1]", None, _HTTP),  # as text, like nova
    ("http://gateway:6080", "evil.example", None, _HTTP),
]
_ONE_FORM = [
    *("http://gateway", "https://gateway:8443", "http://127.0.0.1:6080", "https://[2001:db8::7]"),
    *("http://localhost", "http://my_host.lan:80", "https://gateway.", "http://[::ffff:7f00:1]:1"),
    *("https://xn--mnchen-3ya.example", "moz-extension://0a1b2c3d-4e5f-6789-abcd-ef0123456789"),
    *("chrome-extension://mhjfbmdgcfjbbpaeojofohoefgiehjai", "http://a.b-c.d:65535", "http://GATE"),
]
_NO_ORIGIN = [
    # what a lenient parser takes for the gateway's
    *(r"http://evil.example\@127.0.0.1:6080", "http://evil@127.0.0.1:6080", "http://@127.0.0.1"),
    *("http://127.0.0.1:6080, http://evil.example", "http://127.0.0.1:6080 http://evil.example"),
    *("http://127.0.0.1:6080,http://evil.example", "http://127.0.0.1;evil", "http://user:x@h"),
    *("http://127.0.0.1:6080/", "http://127.0.0.1/x", "http://127.0.0.1?x", "http://127.0.0.1#x"),
    *(r"http://127.0.0.1\x", r"http:\\127.0.0.1", "http:/127.0.0.1", "http:127.0.0.1", "//h", "h"),
    *(" http://h", "http://h ", "http://h\t", "http://h\n", "http://h\r\n", "http://h\0", "\0"),
    *("http://", "http://:80", "http://h:", "http://h:0", "http://h:080", "http://h:65536"),
    *(
        "http://h:-1",
        "http://h:+1",
        "http://h:٨٠",
        "http://h:8x",
        "http://h:80:80",
        "http://h:999999",
    ),
    *("http://[::1", "http://::1", "http://[]", "http://[h]", "http://[1.2.3.4]", "http://[::1]x"),
    *("http://[fe80::1%25eth0]", "http://[fe80::1%eth0]", "http://[v1.x]", "http://[:::]:80"),
    *(
        "http://127.1",
        "http://0x7f.1",
        "http://0177.0.0.1",
        "http://2130706433",
        "http://1.2.3.256",
    ),
    *("http://münchen.example", "http://h%2e", "http://%68", "http://-h", "http://.h", "http://*"),
    *("HTTP://h", "1http://h", "://h", "http ://h", "javascript:alert(1)", "blob:http://h", "http"),
    *("null", "Null", "", " ", "file://", "about:blank", "data:,", "http://" + "h" * 254),
]


class RecogniseTests(SynchronousTestCase):
    def test_what_browsers_send(self) -> None:
        """The serialised form is recognised, and is what a recognised one serialises to."""
        for value in _ONE_FORM:
            origin = Origin.recognise(value.encode())
            assert origin is not None, value
            self.assertEqual(origin.serialise(), value)

    def test_everything_else(self) -> None:
        """Opaque origins, and whatever a parser would have to interpret, are none."""
        for value in _NO_ORIGIN:
            self.assertIsNone(Origin.recognise(value.encode()), value)
        self.assertIsNone(Origin.recognise(b"\xff"))
        self.assertIsNone(Origin.recognise(b"http://h\xff"))

    def test_hosts(self) -> None:
        """A Host header is recognised as the same words behind an origin's scheme are."""
        for value in _ONE_FORM:
            authority = value.partition("://")[2]
            recognised = Authority.recognise(authority.encode())
            assert recognised is not None, value
            self.assertEqual(recognised.serialise(), authority)
        for value in _NO_ORIGIN:
            authority = value.partition("://")[2]
            if value.startswith("http://"):
                self.assertIsNone(Authority.recognise(authority.encode()), value)

    @given(
        st.one_of(
            st.binary(max_size=60),
            st.text(string.printable, max_size=40).map(lambda text: f"http://{text}".encode()),
            st.from_regex(rb"[a-z]{1,9}://[a-zA-Z0-9.:\[\]@\\%,/-]{0,40}", fullmatch=True),
        )
    )
    def test_the_same_bytes(self, value: bytes) -> None:
        """Whatever is recognised serialises to the bytes that came."""
        origin = Origin.recognise(value)
        if origin is not None:
            self.assertEqual(origin.serialise().encode(), value)

    @given(
        st.sampled_from(["http", "https", "ws", "wss"]),
        st.one_of(
            st.from_regex(
                r"[a-z0-9][a-z0-9-]{0,20}(\.[a-z0-9-]{1,20}){0,3}\.[a-z]{2,8}", fullmatch=True
            ),
            st.ip_addresses(v=4).map(str),
            st.ip_addresses(v=6).map(lambda address: f"[{address}]"),
        ),
        st.none() | st.integers(1, 65535),
    )
    def test_every_browser_s(self, scheme: str, host: str, port: int | None) -> None:
        """Every origin of a page that came by HTTP is recognised."""
        value = f"{scheme}://{host}" + (f":{port}" if port else "")
        origin = Origin.recognise(value.encode())
        assert origin is not None
        self.assertEqual((origin.scheme, origin.authority.port), (scheme, port))
        self.assertEqual(origin.authority.host, host.strip("[]"))


class OriginRulesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.rules = OriginRules(["Dashboard.example", "OTHER.example", "2001:db8::7"])

    def check(
        self, origin: str | None, host: str | None, forwarded: str | None, base: str | None
    ) -> None:
        page = None if origin is None else Origin.recognise(origin.encode())
        self.assertEqual(page is None, origin is None, origin)
        self.rules.check_host(page, Authority.recognise((host or "").encode()))
        self.rules.check_scheme(page, forwarded, base)

    def test_accepted(self) -> None:
        """The gateway's own pages, configured hosts, and clients that are no browsers."""
        for case in _ACCEPTED:
            self.check(*case)

    def test_refused(self) -> None:
        """Everything else; each is an error with the reason."""
        for case in _REFUSED:
            with self.assertRaises(OriginRefused, msg=str(case)):
                self.check(*case)

    def test_no_request_teaches_another(self) -> None:
        """The Host of one request is no allowed origin of the next (nova's bug 2158919)."""
        self.check("http://evil.example", "evil.example", None, _HTTP)
        with self.assertRaises(OriginRefused):
            self.check("http://evil.example", "gateway", None, _HTTP)
