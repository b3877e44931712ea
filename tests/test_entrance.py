"""The configuration's way to what stands before the sites, and what a reload changes there."""

from __future__ import annotations

import os
from pathlib import Path

from twisted.internet.task import Clock
from twisted.internet.testing import EventLoggingObserver
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import TestCase

from tests.e2e.certificates import issue, write_certificate
from tests.edge.test_tls import Handshake
from tests.web.harness import WebHarness
from vncproxy.config.read import ConfigError, read_settings
from vncproxy.config.settings import Settings
from vncproxy.edge.first_byte import FirstByteFactory
from vncproxy.entrance import Entrance, hsts_max_age


class EntranceTests(TestCase):
    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()
        self.cert = self.directory / "cert.pem"
        write_certificate(self.cert)
        self.log = EventLoggingObserver.createWithCleanup(self, globalLogPublisher)

    def read(self, *lines: str, default: str = "") -> Settings:
        config = self.directory / "vncproxy.conf"
        text = "".join(f"{line}\n" for line in lines)
        config.write_text(f"[DEFAULT]\ncert = {self.cert}\n{default}[vncproxy]\n{text}")
        return read_settings(["--config-file", str(config)], "test")

    def entrance(self, *lines: str) -> Entrance:
        return Entrance(self.read(*lines), Clock())

    def errors(self) -> list[str]:
        return [
            event["log_format"].format(**event)
            for event in self.log
            if event["log_level"].name == "error"
        ]

    def test_what_stands_before_a_site(self) -> None:
        """Nothing before a plain listener, a look at the first byte where the words ask for one."""
        site = WebHarness().site
        entrance = self.entrance("trusted_proxies = 10.0.0.1")
        self.assertIs(entrance.before_consoles(site, "tcp:6080"), site)
        for words, proxy_header, tls in (
            ("https:", False, True),
            ("haproxy:", True, False),
            ("haproxy:https:", True, True),
        ):
            factory = entrance.before_consoles(site, f"{words}tcp:6080")
            assert isinstance(factory, FirstByteFactory)
            self.assertEqual(
                (factory.rules.proxy_header, factory.rules.tls is not None), (proxy_header, tls)
            )

    def test_words_that_can_t_be_followed(self) -> None:
        """Each is refused at the start."""
        site = WebHarness().site
        entrance = self.entrance()
        for description in (
            "haproxy:tcp:1",
            "https:haproxy:tcp:1",
            "haproxy:haproxy:tcp:1",
            "https:ssl:1:privateKey=a",
        ):
            self.assertRaises(ConfigError, entrance.before_consoles, site, description)

    def test_new_balancers(self) -> None:
        """A reload changes whom is trusted, for requests and for connections alike."""
        entrance = self.entrance("trusted_proxies = 10.0.0.1")
        factory = entrance.before_consoles(WebHarness().site, "haproxy:tcp:1")
        assert isinstance(factory, FirstByteFactory)
        self.follow(entrance, self.read("trusted_proxies = 10.0.0.2"))
        for trusted in factory.rules.trusted, entrance.trusted:
            self.assertNotIn("10.0.0.1", trusted)
            self.assertIn("10.0.0.2", trusted)

    def follow(self, entrance: Entrance, settings: Settings) -> None:
        for part in entrance.reload_parts():
            part.apply(settings)

    def test_a_default_certificate_that_goes(self) -> None:
        """A reload while the file is missing is an error, and does not serve another instead."""
        more = self.directory / "more.pem"
        issue("a.example", ("a.example",)).write(more, more)
        entrance = self.entrance(f"tls_certificates = {more}")
        assert entrance.tls is not None
        os.unlink(self.cert)
        self.follow(entrance, self.read(f"tls_certificates = {more}"))
        self.assertEqual(Handshake(entrance.tls).served, "CN=127.0.0.1")
        self.assertIn("the certificates stay as they were", self.errors()[0])

    def test_hsts(self) -> None:
        """A year with ssl_only, unless told otherwise; else nothing."""
        self.assertEqual(hsts_max_age(self.read()), 0)
        self.assertEqual(hsts_max_age(self.read("hsts_max_age = 60")), 60)
        only = "ssl_only = True\n"
        self.assertEqual(hsts_max_age(self.read(default=only)), 31536000)
        self.assertEqual(hsts_max_age(self.read("hsts_max_age = 0", default=only)), 0)
