"""The URL that opens a console, as nova composes it."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from vncproxy.model import Token
from vncproxy.tokens.access_url import access_url


class AccessUrlTests(SynchronousTestCase):
    def test_novnc(self) -> None:
        """The token goes into the page's `path`; the base URL's own query is kept."""
        cases = {
            "http://h:6080/vnc_auto.html": "http://h:6080/vnc_auto.html?path=%3Ftoken%3DT",
            "http://h/novnc/vnc_auto.html?path=novnc": (
                "http://h/novnc/vnc_auto.html?path=novnc%3Ftoken%3DT"
            ),
            "http://h/x.html?noop=true": "http://h/x.html?noop=true&path=%3Ftoken%3DT",
            "http://h/x.html?path=a/b&resize=scale#f": (
                "http://h/x.html?path=a%2Fb%3Ftoken%3DT&resize=scale#f"
            ),
            "http://h/x.html?path=a&path=b&k=1&k=2": ("http://h/x.html?path=a%3Ftoken%3DT&k=1&k=2"),
        }
        for base, url in cases.items():
            self.assertEqual(access_url(base, "novnc", Token("T")), url)

    def test_other_consoles(self) -> None:
        """Their pages and clients take `token` itself."""
        url = access_url("ws://h:6083/", "serial", Token("T"))
        self.assertEqual(url, "ws://h:6083/?token=T")

    def test_a_base_url_with_a_query(self) -> None:
        """The token is added to it, where nova's own URL would be broken."""
        url = access_url("https://h/serial?tenant=1", "serial", Token("T"))
        self.assertEqual(url, "https://h/serial?tenant=1&token=T")
