"""The token database on a real MariaDB, through the same code as SQLite."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.e2e import fake_targets
from tests.e2e.browser import ScriptedBrowser
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

    def test_no_tables(self) -> None:
        """A database that is none of nova's is reported, and does not stop the gateway."""
        with ScriptedBrowser(f"{self.gateway.url}/console?path=%3Ftoken%3Dx") as browser:
            self.assertIn("can't check console links now", browser.read_refusal())
        self.gateway.program.wait_for("store-unavailable .*console_auth_tokens' doesn't exist")
        self.assertTrue(
            becomes_true(lambda: "database create" in self.gateway.command("check").stdout)
        )
