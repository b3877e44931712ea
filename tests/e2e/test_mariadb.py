"""The token database on a real MariaDB, through the same code as SQLite."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.e2e import fake_targets
from tests.e2e.at_once import IN_WORDS, OPEN, AtOnce
from tests.e2e.browser import ScriptedBrowser, websocket_url
from tests.e2e.fake_targets import FakeTarget
from tests.e2e.mariadb import shared_server
from tests.e2e.programs import Gateway, becomes_true


class MariaDbTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.database = shared_server()
        self.database.run("DROP DATABASE IF EXISTS nova; CREATE DATABASE nova CHARACTER SET utf8")
        self.target = FakeTarget(fake_targets.echo)
        self.addCleanup(self.target.stop)
        self.gateway = Gateway({"database_timeout": 2}, database=self.database.url)
        self.addCleanup(self.gateway.stop)

    def assert_opens(self, url: str) -> None:
        with ScriptedBrowser(url) as browser:
            self.assertEqual(browser.open_console(), fake_targets.SERVER_INIT)

    def test_a_console(self) -> None:
        """Tables are made, a token with a password is stored, found, listed and revoked."""
        made = self.gateway.command("database", "create")
        self.assertEqual((made.returncode, made.stderr), (0, ""))
        secret = self.gateway.directory / "secret"
        secret.write_text("pa55word")
        url = self.gateway.console_url(self.target.port, f"--password-file={secret}")
        self.assert_opens(url)
        rows = self.database.run("SELECT * FROM nova.console_auth_tokens")
        self.assertNotIn(url[-36:], rows)
        sealed = self.database.run("SELECT sealed FROM nova.vncproxy_token_credentials")
        self.assertTrue(sealed.strip())
        self.assertNotIn("pa55word", sealed)
        token_id = self.gateway.command("token", "list").stdout.split()[0]
        self.assertEqual(self.gateway.command("token", "revoke", token_id).returncode, 0)
        with ScriptedBrowser(url) as browser:
            self.assertIn("has expired", browser.read_refusal())

    def test_a_restart(self) -> None:
        """While the database is away users are told so; running consoles go on; it comes back."""
        self.gateway.command("database", "create")
        url = self.gateway.console_url(self.target.port)
        with ScriptedBrowser(url) as running:
            running.open_console()
            self.database.stop()
            with ScriptedBrowser(url) as refused:
                self.assertIn("can't check console links now", refused.read_refusal())
            running.write(b"still here")
            self.assertEqual(running.read(10), b"still here")
            self.database.start()
            self.assert_opens(url)
        self.assertNotIn("hunter2", self.gateway.log)
        self.assertNotIn("Traceback", self.gateway.log)

    def test_a_server_that_hangs(self) -> None:
        """While the database does not answer users are told so; running consoles go on."""
        self.gateway.command("database", "create")
        url = self.gateway.console_url(self.target.port)
        with ScriptedBrowser(url) as running:
            running.open_console()
            self.database.pause()
            try:
                clients = AtOnce([("127.0.0.1", websocket_url(url))] * 25)  # threads are fewer
                clients.settle(self.gateway, still_open=0)
                self.assertEqual(clients.outcomes, {IN_WORDS: 25})
                running.write(b"still here")
                self.assertEqual(running.read(10), b"still here")
            finally:
                self.database.go_on()
            self.assertTrue(becomes_true(lambda: self.opens(url)))
        reasons = {line["reason"] for line in self.gateway.audit() if line["event"] == "refused"}
        self.assertEqual(reasons, {"store-unavailable"})
        self.assertNotIn("Traceback", self.gateway.log)

    def opens(self, url: str) -> bool:
        with ScriptedBrowser(url) as browser:
            browser.write_version()
            return browser.read(1) == b"\x01"

    def test_single_use(self) -> None:
        """Of fifty clients with one token, at two gateways at once, exactly one gets in."""
        self.gateway.command("database", "create")
        second = Gateway({"single_use": True}, database=self.database.url)
        self.addCleanup(second.stop)
        for option in ("--single-use", "--ttl=600"):  # issued so; or made so where it is used
            url = websocket_url(self.gateway.console_url(self.target.port, option))
            elsewhere = url.replace(str(self.gateway.port), str(second.port))
            both = [url, elsewhere] if option == "--single-use" else [elsewhere, elsewhere]
            clients = AtOnce([("127.0.0.1", url) for url in both] * 25)
            clients.settle(self.gateway, still_open=1)
            self.assertEqual(clients.outcomes, {OPEN: 1, IN_WORDS: 49})
        self.assertEqual(
            self.database.run("SELECT COUNT(*) FROM nova.vncproxy_token_uses").strip(), "2"
        )

    def test_no_tables(self) -> None:
        """A database that is none of nova's is reported, and does not stop the gateway."""
        with ScriptedBrowser(f"{self.gateway.url}/console?path=%3Ftoken%3Dx") as browser:
            self.assertIn("can't check console links now", browser.read_refusal())
        self.gateway.program.wait_for("store-unavailable .*console_auth_tokens' doesn't exist")
        self.assertTrue(
            becomes_true(lambda: "database create" in self.gateway.command("check").stdout)
        )
