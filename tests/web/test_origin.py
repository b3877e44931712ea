"""Whose pages may open consoles: the table of cases."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from vncproxy.errors import OriginRefused
from vncproxy.web.origin import Origin, OriginRules

_HTTP, _HTTPS = "http://h/vnc_auto.html", "https://h/vnc_auto.html"

# (Origin, Host, X-Forwarded-Proto, access_url_base)
_ACCEPTED: list[tuple[str | None, str | None, str | None, str | None]] = [
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
    ("http://gateway", "gateway", " HTTPS , http", _HTTPS),
    ("https://gateway", "gateway", None, "wss://h/"),
    ("http://gateway", "gateway", None, "ws://h/"),
    ("ws://gateway", "gateway", None, "ws://h/"),
    ("https://gateway:8443", "gateway", None, "HTTPS://h/"),
    ("http://gateway", "gateway", "", _HTTP),  # a balancer that says nothing
    ("http://user@gateway", "gateway", None, _HTTP),
    ("http://[::1]", "::1", None, _HTTP),  # a Host with an IPv6 address without brackets
    ("http://[2001:db8::7]:80", "other", None, _HTTP),  # in allowed_origins
    ("http://other.example", "h", None, _HTTP),  # in allowed_origins, in capitals there
    (None, "gateway", "https", None),
]
_REFUSED: list[tuple[str | None, str | None, str | None, str | None]] = [
    ("http://evil.example", "gateway", None, _HTTP),
    ("http://gateway.evil.example", "gateway", None, _HTTP),
    ("http://evil-dashboard.example", "gateway", None, _HTTP),
    ("https://dashboard.example.evil.example", "gateway", None, _HTTPS),
    ("http://user@evil.example", "user", None, _HTTP),
    ("null", "gateway", None, _HTTP),
    ("null", None, "http", _HTTP),
    ("", "gateway", None, _HTTP),
    ("gateway", "gateway", None, _HTTP),
    ("//gateway", "gateway", None, _HTTP),
    ("http://", "", None, _HTTP),
    ("http://[::1", "[::1", None, _HTTP),
    ("http://gateway", None, None, _HTTP),
    ("https://gateway", "gateway", None, _HTTP),
    ("http://gateway", "gateway", None, _HTTPS),
    ("https://gateway", "gateway", "http", _HTTPS),
    ("https://gateway", "gateway", None, "ws://h/"),
    ("http://gateway", "gateway", None, None),
    ("file://gateway", "gateway", None, _HTTP),
    ("wss://gateway", "gateway", None, "ws://h/"),
    ("http://gateway", "gateway", None, "wss://h/"),
    ("http://gateway", "gateway", None, "no URL"),
    ("http://gateway", "gateway", None, "http//h"),
    ("http://gateway", "gateway", "https", _HTTP),
    ("http://gateway", "gateway", "wss", _HTTPS),
    ("http://gateway.", "gateway", None, _HTTP),
    ("http://[0:0:0:0:0:0:0:1]", "[::1]", None, _HTTP),  # as text, like nova
    ("http://dashboard.example, http://evil.example", "gateway", None, _HTTP),
    ("null", None, "http", "null:"),
    ("null", "null", None, _HTTP),
    ("https://gateway", "gateway", "http, https", _HTTPS),  # of a chain the first counts
    ("http://gateway:6080", "evil.example", None, _HTTP),
]


class OriginRulesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.rules = OriginRules(["Dashboard.example", "OTHER.example", "2001:db8::7"])

    def check(
        self, origin: str | None, host: str | None, forwarded: str | None, base: str | None
    ) -> None:
        found = self.rules.check_host(origin, host, forwarded)
        self.rules.check_scheme(found, base)

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

    def test_the_origin_as_it_counts(self) -> None:
        """The balancer's scheme takes the page's place."""
        found = self.rules.check_host("http://Gateway:81", "gateway", "https")
        self.assertEqual(found, Origin("https", "gateway"))
