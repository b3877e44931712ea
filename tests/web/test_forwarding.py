"""Requests through balancers: whose headers are believed, and what follows for Origin and log."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.helpers import grant_for
from tests.web.harness import HANDSHAKE, WebHarness, json_of
from vncproxy.edge.networks import TrustedProxies
from vncproxy.model import Token
from vncproxy.web.forwarding import Forwarding

# The harness's client is 192.0.2.1.
OURS, OTHERS = ("192.0.2.0/24",), ("10.0.0.0/8",)
TOKEN = Token("good")


class ForwardingTests(SynchronousTestCase):
    def web(self, trusted: tuple[str, ...], header: str = "x-forwarded-for") -> WebHarness:
        forwarding = Forwarding(TrustedProxies(trusted), header)  # type: ignore[arg-type]
        web = WebHarness(forwarding=forwarding)
        web.store.grants["good"] = grant_for(TOKEN, access_url_base="https://gateway/vnc.html")
        return web

    def client(self, web: WebHarness, **headers: str) -> str:
        """Return the client's address that a refused session has in the log."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        web.request("/?token=bad", {**HANDSHAKE, "Upgrade": "", "Connection": "", **named})
        assert web.observer.facts is not None
        return web.observer.facts.client

    def verdict(self, web: WebHarness, **headers: str) -> str:
        """Return what a page of http://gateway gets that opens a console issued for https."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        origin = {"Host": "gateway", "Origin": "http://gateway"}
        return json_of(web.request("/?token=good", {**origin, **named}))["code"]

    def test_the_client_behind_a_balancer(self) -> None:
        """The address in the log is the one that our balancer tells."""
        web = self.web(OURS)
        self.assertEqual(self.client(web, X_Forwarded_For="1.2.3.4, 198.51.100.9"), "198.51.100.9")
        self.assertEqual(self.client(web, X_Forwarded_For="2001:db8::9"), "2001:db8::9")
        self.assertEqual(self.client(web), "192.0.2.1")

    def test_forged(self) -> None:
        """From elsewhere, or while nobody is trusted, the header is nothing."""
        for trusted in OTHERS, ():
            for header in ("x-forwarded-for", "forwarded"):
                web = self.web(trusted, header)
                forged = {"X_Forwarded_For": "198.51.100.9", "Forwarded": "for=198.51.100.9"}
                self.assertEqual(self.client(web, **forged), "192.0.2.1")

    def test_the_other_header(self) -> None:
        """A balancer passes on what clients write into the header that it does not set."""
        forged = {"Forwarded": "for=1.2.3.4", "X_Forwarded_For": "198.51.100.9"}
        self.assertEqual(self.client(self.web(OURS), **forged), "198.51.100.9")
        forged = {"Forwarded": "for=198.51.100.9", "X_Forwarded_For": "1.2.3.4"}
        self.assertEqual(self.client(self.web(OURS, "forwarded"), **forged), "198.51.100.9")

    def test_the_scheme(self) -> None:
        """X-Forwarded-Proto makes an http page's Origin https only if a balancer says so."""
        said = {"X_Forwarded_Proto": "https"}
        self.assertEqual(self.verdict(self.web(OURS), **said), "ok")
        self.assertEqual(self.verdict(self.web(OTHERS), **said), "origin-refused")
        self.assertEqual(self.verdict(self.web(())), "origin-refused")

    def test_the_scheme_without_trusted_proxies(self) -> None:
        """While nobody is named, it is believed as nova does, so that a plain HAProxy works."""
        self.assertEqual(self.verdict(self.web(()), X_Forwarded_Proto="https"), "ok")

    def test_the_scheme_in_forwarded(self) -> None:
        """With `forwarded` the scheme is that header's, and X-Forwarded-Proto is nothing."""
        web = self.web(OURS, "forwarded")
        self.assertEqual(self.verdict(web, Forwarded="for=1.2.3.4;proto=https"), "ok")
        self.assertEqual(self.verdict(web, X_Forwarded_Proto="https"), "origin-refused")

    def test_names_with_underscores(self) -> None:
        """X_Forwarded_For is another header than X-Forwarded-For."""
        web = self.web(OURS)
        connection = web.request("/?token=bad", {"Host": "g", "X_Forwarded_For": "1.2.3.4"})
        self.assertEqual(connection.answer()[0], 401)
        assert web.observer.facts is not None
        self.assertEqual(web.observer.facts.client, "192.0.2.1")

    def test_hsts(self) -> None:
        """It is sent by TLS only; a balancer's word for TLS is enough."""
        for trusted, proto, sent in (
            (OURS, "https", True),
            (OURS, "http", False),
            (OTHERS, "https", False),
            ((), "https", False),
        ):
            web = WebHarness(forwarding=Forwarding(TrustedProxies(trusted), hsts_max_age=60))
            headers = web.request("/", {"Host": "g", "X-Forwarded-Proto": proto}).answer()[1]
            self.assertEqual(
                headers.get("strict-transport-security"), "max-age=60" if sent else None
            )

    def test_hsts_on_every_answer(self) -> None:
        """Pages, errors, verdicts and refusals say it alike."""
        web = WebHarness(forwarding=Forwarding(TrustedProxies(OURS), hsts_max_age=60))
        secure = {"Host": "g", "X-Forwarded-Proto": "https"}
        answers = [
            web.request(target, {**secure, **more}, method)
            for target, more, method in (
                ("/", {}, "GET"),
                ("/none", {}, "GET"),
                ("/", {}, "DELETE"),
                ("/", {"Host": "u@g"}, "GET"),
                ("/?token=bad", {}, "GET"),
                ("/?token=a&token=b", HANDSHAKE, "GET"),
                ("/", HANDSHAKE, "GET"),
            )
        ]
        statuses = [connection.answer()[0] for connection in answers]
        self.assertEqual(statuses, [200, 404, 405, 400, 401, 400, 401])
        for connection in answers:
            sent = connection.answer()[1].get("strict-transport-security")
            self.assertEqual(sent, "max-age=60", connection.value())
