"""The configuration's way to what stands before the sites, and what a reload changes there."""

from __future__ import annotations

import os
from pathlib import Path

from twisted.internet.task import Clock
from twisted.internet.testing import EventLoggingObserver, MemoryReactorClock
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import TestCase

from tests.e2e.certificates import issue, write_certificate
from tests.edge.test_tls import Handshake
from tests.web.harness import WebHarness
from vncproxy.config.read import CommandLine, ConfigError, read_settings
from vncproxy.config.settings import Settings
from vncproxy.edge.first_byte import FirstByteFactory, FirstByteRules
from vncproxy.entrance import Entrance, hsts_max_age
from vncproxy.errors import StoreUnavailable
from vncproxy.service import build


class EntranceTestCase(TestCase):
    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()
        self.cert = self.directory / "cert.pem"
        write_certificate(self.cert)
        self.log = EventLoggingObserver.createWithCleanup(self, globalLogPublisher)

    def read(self, *lines: str, default: str = "") -> Settings:
        self.config = self.directory / "vncproxy.conf"
        text = "".join(f"{line}\n" for line in lines)
        self.config.write_text(f"[DEFAULT]\ncert = {self.cert}\n{default}[vncproxy]\n{text}")
        return read_settings(["--config-file", str(self.config)], "test")

    def entrance(self, *lines: str) -> Entrance:
        return Entrance(self.read(*lines), Clock())

    def errors(self) -> list[str]:
        return [
            event["log_format"].format(**event)
            for event in self.log
            if event["log_level"].name == "error"
        ]

    def follow(self, entrance: Entrance, settings: Settings) -> None:
        for part in entrance.reload_parts():
            part.apply(settings)


class EntranceTests(EntranceTestCase):
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


class RequiredTests(EntranceTestCase):
    """Where clients' certificates are required, nobody comes without one."""

    def setUp(self) -> None:
        super().setUp()
        self.ca = self.directory / "ca.pem"
        issue("CA", ca=True).write(self.ca, self.directory / "ca-key.pem")

    def required(self, *lines: str, word: str = "required") -> tuple[str, ...]:
        return (f"tls_client_certificates = {word}", f"tls_client_ca = {self.ca}", *lines)

    def fault(self, *lines: str, cert: bool = True) -> str:
        """Return why a gateway so configured does not start, as one process or as several."""
        self.read(*self.required(f"state_path = {self.directory}", *lines))
        if not cert:
            self.config.write_text(self.config.read_text().replace("cert = ", "cert = /nowhere"))
        line = CommandLine((f"--config-file={self.config}",), "test", None)
        faults = []
        for workers in ("1", "2"):
            self.config.write_text(f"{self.config.read_text()}workers = {workers}\n")
            with self.assertRaises(ConfigError) as caught:
                build(line.read(), MemoryReactorClock(), line)
            faults.append(str(caught.exception))
        self.assertEqual(faults[0], faults[1])
        return faults[0]

    def test_listeners_that_can_not_ask(self) -> None:
        """Each ends the start, with its name, and what to do."""
        can_not = "tls_client_certificates = required demands; write https:"
        for option in ("listen", "listen_serial", "listen_spice"):
            for description in (
                "tcp:6080",
                "tcp6:6080:interface=\\:\\:1",
                "unix:/run/vncproxy.sock",
                "systemd:domain=INET:index=0",
                f"ssl:6080:privateKey={self.cert}",
                "haproxy:tcp:6080",
            ):
                fault = self.fault(
                    f"{option} = {description}",
                    "consoles = novnc, serial, spice-html5",
                    "trusted_proxies = 10.0.0.1",
                )
                self.assertIn(f"[vncproxy] {option}: {description!r} can't be used: ", fault)
                self.assertIn(can_not, fault)

    def test_one_of_several_listeners(self) -> None:
        """One that can't ask is one too many."""
        fault = self.fault("listen = https:tcp:6443", "listen = unix:/run/vncproxy.sock")
        self.assertIn("'unix:/run/vncproxy.sock' can't be used", fault)

    def test_novas_address_without_a_certificate(self) -> None:
        """It speaks plain HTTP, so it can't ask either."""
        self.assertIn("[vnc] novncproxy_port: 'tcp:", self.fault(cert=False))

    def test_listeners_that_can(self) -> None:
        """All of the gateway's own TLS refuse plain HTTP, whatever ssl_only says."""
        lines = self.required("trusted_proxies = 10.0.0.1, unix")
        for description in (
            "https:tcp:1",
            "https:tcp6:1",
            "https:unix:/run/x",
            "https:systemd:domain=INET:index=0",
            "haproxy:https:tcp:1",
        ):
            for word, refuses in (("required", True), ("optional", False), ("off", False)):
                entrance = self.entrance(*lines, f"tls_client_certificates = {word}")
                self.assertEqual(self.rules(entrance, description).refuses_plain, refuses)

    def rules(self, entrance: Entrance, description: str) -> FirstByteRules:
        factory = entrance.before_consoles(WebHarness().site, description)
        assert isinstance(factory, FirstByteFactory)
        return factory.rules

    def test_a_reload(self) -> None:
        """Who can ask refuses plain HTTP from then on, and serves it when it is allowed again."""
        entrance = self.entrance(*self.required(word="optional"))
        rules = self.rules(entrance, "https:tcp:1")
        for word, refuses in (("required", True), ("optional", False), ("required", True)):
            self.follow(entrance, self.read(*self.required(word=word)))
            self.assertEqual(rules.refuses_plain, refuses)

    def test_connections_from_before_a_reload(self) -> None:
        """Who came without a certificate asks for nothing more; who asks just now is answered."""
        entrance = self.entrance()
        web = WebHarness()
        web.store.pending = []
        entrance.before_consoles(web.site, "https:tcp:1")
        idle, asking = web.request("/console"), web.upgrade("/?token=a")
        self.follow(entrance, self.read(*self.required()))
        self.assertTrue(idle.disconnected)
        self.assertFalse(asking.disconnected)
        web.store.pending[0].errback(StoreUnavailable("away"))
        again = web.request("/console")
        self.follow(entrance, self.read(*self.required()))
        self.assertFalse(again.disconnected)

    def test_a_reload_that_can_not_be_followed(self) -> None:
        """With a listener that can't ask it is refused, and everything stays as it was."""
        entrance = self.entrance()
        rules = self.rules(entrance, "https:tcp:1")
        entrance.before_consoles(WebHarness().site, "tcp:6080", "[vncproxy] listen_serial")
        with self.assertRaises(ConfigError) as caught:
            self.follow(entrance, self.read(*self.required()))
        self.assertIn("[vncproxy] listen_serial: 'tcp:6080' can't be used", str(caught.exception))
        assert entrance.tls is not None
        entrance.tls.look()
        self.assertFalse(rules.refuses_plain)
        self.assertEqual(entrance.tls.options.client_certificates, "off")

    def test_a_reload_with_a_broken_ca(self) -> None:
        """What can't be used changes nothing: neither who must show one, nor who may come plain."""
        entrance = self.entrance()
        rules = self.rules(entrance, "https:tcp:1")
        self.ca.write_text("no PEM")
        self.follow(entrance, self.read(*self.required()))
        self.assertIn("the certificates stay as they were", self.errors()[0])
        self.assertFalse(rules.refuses_plain)


class PromiseTests(EntranceTestCase):
    """What TLS must be, it is on every listener, or that listener ends the start."""

    _PLAIN = (
        *("tcp:6080", "tcp6:6080", "tcp:6080:interface=10.0.0.1", "systemd:domain=INET:index=0"),
        *("haproxy:tcp:6080", "haproxy:unix:/run/x"),
    )
    _OWN = ("https:tcp:1", "haproxy:https:tcp:1", "https:systemd:domain=INET:index=0")
    _LOCAL = ("unix:/run/x", "tcp:1:interface=127.0.0.1", "tcp6:1:interface=\\:\\:1")
    _TWISTEDS = ("ssl:1:privateKey=k.pem", "tls:/etc/pki:tcp:1")
    _TRUSTED = "trusted_proxies = 10.0.0.1, unix"

    def assert_taken(self, entrance: Entrance, *descriptions: str) -> None:
        for description in descriptions:
            entrance.before_consoles(WebHarness().site, description)

    def assert_refused(self, entrance: Entrance, words: str, *descriptions: str) -> None:
        for option in ("[vncproxy] listen", "[vncproxy] listen_serial", "[vncproxy] listen_spice"):
            for description in descriptions:
                with self.assertRaises(ConfigError, msg=description) as caught:
                    entrance.before_consoles(WebHarness().site, description, option)
                self.assertIn(f"{option}: {description!r} can't be used", str(caught.exception))
                self.assertIn(words, str(caught.exception))

    def test_ssl_only(self) -> None:
        """No listener that others reach is without TLS; ours refuse plain HTTP then."""
        only = Entrance(self.read(self._TRUSTED, default="ssl_only = true\n"), Clock())
        self.assert_refused(only, "that [DEFAULT] ssl_only demands", *self._PLAIN)
        self.assert_taken(only, *self._OWN, *self._LOCAL, *self._TWISTEDS)
        self.assert_taken(self.entrance(self._TRUSTED), *self._PLAIN)
        factory = only.before_consoles(WebHarness().site, "https:tcp:1")
        assert isinstance(factory, FirstByteFactory)
        self.assertTrue(factory.rules.refuses_plain)

    def test_ssl_only_without_a_certificate(self) -> None:
        """It does not start, whatever says where to listen."""
        for word in ("", "https:"):
            self.read(f"listen = {word}tcp:1", default="ssl_only = true\n")
            self.config.write_text(self.config.read_text().replace("cert = ", "cert = /nowhere"))
            line = CommandLine((f"--config-file={self.config}",), "test", None)
            self.assertRaises(ConfigError, build, line.read(), MemoryReactorClock(), line)

    def test_versions_and_ciphers(self) -> None:
        """TLS that does not follow these options is not listened with."""
        for lines in ("ssl_minimum_version = tlsv1_3\n", "ssl_ciphers = ECDHE+AESGCM\n"):
            settings = self.read(self._TRUSTED, default=f"[console]\n{lines}")
            entrance = Entrance(settings, Clock())
            self.assert_refused(entrance, "Twisted's own TLS", *self._TWISTEDS)
            self.assert_taken(entrance, *self._OWN, *self._PLAIN)
        self.assert_taken(self.entrance(), *self._TWISTEDS)

    def test_a_reload(self) -> None:
        """A promise that a listener can't keep is not taken over."""
        entrance = self.entrance()
        self.assert_taken(entrance, *self._TWISTEDS)
        tighter = self.read(default="[console]\nssl_minimum_version = tlsv1_3\n")
        with self.assertRaisesRegex(ConfigError, "Twisted's own TLS"):
            self.follow(entrance, tighter)
        assert entrance.tls is not None
        self.assertFalse(entrance.tls.options.tls_1_3_only)


class ProgramsTests(EntranceTestCase):
    """The API's and the metrics' listeners."""

    def setUp(self) -> None:
        super().setUp()
        self.api_cert = self.directory / "api.pem"
        write_certificate(self.api_cert)

    def test_words(self) -> None:
        """The same as the consoles'; plain HTTP is never served where TLS is spoken."""
        site = WebHarness().site
        entrance = self.entrance("trusted_proxies = 10.0.0.1", "api_listen = tcp:2")
        for before in (entrance.before_api, entrance.before_metrics):
            self.assertIs(before(site, "tcp:1"), site)
            for words, proxy_header, tls in (
                ("https:", False, True),
                ("haproxy:", True, False),
                ("haproxy:https:", True, True),
            ):
                factory = before(site, f"{words}tcp:1")
                assert isinstance(factory, FirstByteFactory)
                self.assertEqual(
                    (factory.rules.proxy_header, factory.rules.refuses_plain), (proxy_header, tls)
                )
            for description in ("https:haproxy:tcp:1", "https:ssl:1:privateKey=a"):
                self.assertRaises(ConfigError, before, site, description)

    def test_a_certificate_of_the_apis_own(self) -> None:
        """With it every listener of the API speaks TLS, and shows that one."""
        entrance = self.entrance("api_listen = tcp:1", f"api_cert = {self.api_cert}")
        for description in ("tcp:1", "https:tcp:1"):
            factory = entrance.before_api(WebHarness().site, description)
            assert isinstance(factory, FirstByteFactory)
            assert factory.rules.tls is not None
            self.assertTrue(factory.rules.refuses_plain)
            self.assertEqual(factory.rules.tls.options.cert, str(self.api_cert))

    def test_metrics_may_be_plain(self) -> None:
        """What is required of browsers is not of whoever reads the metrics on a plain listener."""
        ca = self.directory / "ca.pem"
        issue("CA", ca=True).write(ca, self.directory / "ca-key.pem")
        lines = ("tls_client_certificates = required", f"tls_client_ca = {ca}")
        site = WebHarness().site
        self.assertIs(self.entrance(*lines).before_metrics(site, "tcp:9101"), site)

    def test_a_new_certificate(self) -> None:
        """A reload serves it; one that can't be used is an error that names file and option."""
        other = self.directory / "other.pem"
        issue("other").write(other, other)
        lines = ("api_listen = tcp:1", f"api_cert = {self.api_cert}")
        entrance = self.entrance(*lines)
        factory = entrance.before_api(WebHarness().site, "tcp:1")
        assert isinstance(factory, FirstByteFactory)
        assert factory.rules.tls is not None
        self.follow(entrance, self.read("api_listen = tcp:1", f"api_cert = {other}"))
        self.assertEqual(Handshake(factory.rules.tls).served, "CN=other")
        self.follow(entrance, self.read("api_listen = tcp:1", "api_cert = /nowhere.pem"))
        self.assertIn(
            "/nowhere.pem: No such file or directory; see [vncproxy] api_cert", self.errors()[0]
        )
        self.assertEqual(Handshake(factory.rules.tls).served, "CN=other")
        self.assertEqual(len(list(entrance.watches())), 2)
