"""What keeps the API from starting, each in one line that names the option."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from twisted.internet.interfaces import IProtocolFactory
from twisted.internet.task import Clock
from twisted.internet.testing import EventLoggingObserver
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from tests.console_api.harness import FakeDriver
from tests.e2e.certificates import issue, write_certificate
from vncproxy.config.read import ConfigError, read_settings
from vncproxy.console_api.callers import Caller
from vncproxy.console_api.callers_file import add_caller
from vncproxy.console_api.service import api_site
from vncproxy.console_api.site import ApiSite
from vncproxy.edge.first_byte import FirstByteFactory
from vncproxy.edge.pending import PendingConnections
from vncproxy.entrance import Entrance

_LOCAL = "tcp:8774:interface=127.0.0.1"


class ServiceTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()

    def build(self, text: str, driver: FakeDriver | None = None) -> IProtocolFactory:
        config = self.directory / "vncproxy.conf"
        config.write_text(f"[vncproxy]\nstate_path = {self.directory}\n{text}\n")
        settings = read_settings(["--config-file", str(config)], "test")
        nothing = cast(Any, None)
        driver = driver or FakeDriver()
        clock = Clock()
        entrance = Entrance(settings, clock)
        hardening = entrance.hardening(PendingConnections(0, clock))
        site = api_site(settings, clock, driver, nothing, nothing, ["novnc"], hardening)
        return entrance.before_api(site, settings.api.api_listen[0])

    def assert_fault(self, words: str, *lines: str) -> None:
        with self.assertRaises(ConfigError) as caught:
            self.build("\n".join([f"api_listen = {_LOCAL}", *lines]))
        self.assertIn(words, str(caught.exception))
        self.assertNotIn("\n", str(caught.exception))

    def test_without_a_driver(self) -> None:
        """The API has to know servers."""
        settings = read_settings(["--config-file=/dev/null"], "test")
        nothing = cast(Any, None)
        with self.assertRaises(ConfigError) as caught:
            api_site(settings, Clock(), None, nothing, nothing, [], nothing)
        self.assertIn("set [vncproxy] compute_driver", str(caught.exception))

    def test_without_a_method(self) -> None:
        """Nobody is let in by default; a method that there is not is refused by name."""
        self.assert_fault("set [vncproxy] api_auth (token, certificate, keystone, none)")
        self.assert_fault("[vncproxy] api_auth: ", "api_auth = password")

    def test_nobody_known(self) -> None:
        """The file of callers has to be there, and to be one."""
        self.assert_fault("make it with `vncproxy api-token create`", "api_auth = token")
        (self.directory / "api-callers.conf").write_text("[kim]\n")
        self.assert_fault("[kim] has neither token nor certificate", "api_auth = token")

    def test_everybody(self) -> None:
        """Only on listeners that no other machine reaches."""
        for description in ("tcp:8774", "tcp:8774:interface=0.0.0.0", "tcp6:8774", "systemd:x"):
            lines = ("api_auth = none", f"api_listen = {description}")
            self.assert_fault("none is for this machine only", *lines)
        for description in ("unix:/run/api.sock", "tcp6:8774:interface=\\:\\:1"):
            self.build(f"api_listen = {description}\napi_auth = none")

    def test_certificates(self) -> None:
        """Files that are missing, that don't fit, and options that need others."""
        add_caller(self.directory / "api-callers.conf", Caller("kim", admin=True))
        one, other = self.directory / "one.pem", self.directory / "other.pem"
        write_certificate(one)
        write_certificate(other)
        token = "api_auth = token"
        self.assert_fault("needs [vncproxy] api_client_ca", "api_auth = certificate")
        self.assert_fault("api_cert: set it", token, f"api_client_ca = {one}")
        self.assert_fault("/nowhere.pem: No such file", token, "api_cert = /nowhere.pem")
        self.assert_fault("no certificate with its key", token, "api_cert = /dev/null")
        mixed = (f"api_cert = {one}", f"api_key = {other}")
        self.assert_fault("no certificate with its key", token, *mixed)
        chain = self.directory / "chain.pem"
        authority = issue("CA", ca=True)
        issue("host", issuer=authority).write(chain, chain)
        built = self.build(f"api_listen = {_LOCAL}\n{token}\napi_cert = {chain}")
        self.assertIsInstance(built, FirstByteFactory)

    def test_keystone(self) -> None:
        """Its URL, and a plugin that keystoneauth has."""
        keystone = "api_auth = keystone\n[keystone_authtoken]\n"
        self.assert_fault("[keystone_authtoken] auth_url: set it", keystone)
        url = "auth_url = http://127.0.0.1:1/v3"
        wrong = f"{keystone}{url}\nauth_type = carrier-pigeon"
        self.assert_fault("[keystone_authtoken]: The plugin carrier-pigeon", wrong)
        self.build(f"api_listen = {_LOCAL}\n{keystone}{url}\nusername = u\npassword = p")

    def test_what_is_built(self) -> None:
        """A site that answers; with a line in the log where tokens travel in the clear."""
        add_caller(self.directory / "api-callers.conf", Caller("kim", admin=True))
        log = EventLoggingObserver.createWithCleanup(cast(Any, self), globalLogPublisher)
        for description, warnings in ((_LOCAL, 0), ("tcp:8774", 1)):
            built = self.build(f"api_listen = {description}\napi_auth = token")
            self.assertIsInstance(built, ApiSite)
            said = [event for event in log if "in the clear" in event.get("log_format", "")]
            self.assertEqual(len(said), warnings)
