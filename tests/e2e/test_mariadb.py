"""The token database on a real MariaDB, through the same code as SQLite."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from importlib.util import find_spec

from twisted.trial.unittest import SynchronousTestCase

from tests.e2e import fake_targets
from tests.e2e.at_once import IN_WORDS, OPEN, AtOnce
from tests.e2e.browser import ScriptedBrowser, websocket_url
from tests.e2e.fake_targets import FakeTarget
from tests.e2e.mariadb import shared_server
from tests.e2e.programs import Gateway, becomes_true, cannot_test


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


class ConnectionTests(SynchronousTestCase):
    """What nova.conf files say of the connection, and what goes wrong in the driver itself."""

    def setUp(self) -> None:
        self.database = shared_server()
        self.database.run("DROP DATABASE IF EXISTS nova; CREATE DATABASE nova CHARACTER SET utf8")
        self.target = FakeTarget(fake_targets.echo)
        self.addCleanup(self.target.stop)

    def open_gateway(self, url: str = "", more: str = "") -> None:
        url = url or self.database.url
        self.gateway = Gateway({"database_timeout": 2}, database=url, more=f"[database]\n{more}")
        self.addCleanup(self.gateway.stop)

    def findings(self) -> dict[str, tuple[bool, str]]:
        """Return what `check` finds, by subject."""
        done = self.gateway.command("check", "--json")
        self.assertEqual(done.stderr, "")
        return {f["subject"]: (f["ok"], f["text"]) for f in json.loads(done.stdout)}

    def readyz(self) -> tuple[int, str]:
        """Return the status of /readyz, and its word."""
        try:
            with urllib.request.urlopen(f"{self.gateway.url}/readyz", timeout=60) as answer:
                return answer.status, json.load(answer)["status"]
        except urllib.error.HTTPError as refusal:
            return refusal.code, json.load(refusal)["status"]

    def assert_works(self) -> None:
        made = self.gateway.command("database", "create")
        self.assertEqual((made.returncode, made.stderr), (0, ""))
        with ScriptedBrowser(self.gateway.console_url(self.target.port)) as browser:
            self.assertEqual(browser.open_console(), fake_targets.SERVER_INIT)
        self.assertTrue(self.findings()["database"][0])

    def test_devstacks_configuration(self) -> None:
        """A plugin that only counts is left out where it is missing, and said so."""
        self.open_gateway(f"{self.database.url}&charset=utf8&plugin=dbcounter")
        self.assert_works()
        self.assertRegex(self.gateway.log, "connection: the plugin dbcounter is not installed")
        self.assertIn("the plugin dbcounter is not installed", self.findings()["database"][1])

    def test_pools_without_a_bound(self) -> None:
        """As oslo.db takes them: 0 connections to keep are any number, and so on."""
        self.open_gateway(
            more="max_pool_size = 0\nmax_overflow = -1\nconnection_recycle_time = -1\n"
        )
        self.assert_works()
        url = websocket_url(self.gateway.console_url(self.target.port))
        clients = AtOnce([("127.0.0.1", url)] * 10)  # as many as one link opens
        clients.settle(self.gateway, still_open=10)
        self.assertEqual(clients.outcomes, {OPEN: 10})

    def test_galera(self) -> None:
        """Each connection waits for what the other nodes wrote, if that is asked for."""
        self.database.run("TRUNCATE mysql.general_log; SET GLOBAL log_output = 'TABLE'")
        self.database.run("SET GLOBAL general_log = 1")
        self.addCleanup(self.database.run, "SET GLOBAL general_log = 0")
        self.open_gateway(more="mysql_wsrep_sync_wait = 1\n")
        self.assert_works()
        said = self.database.run("SELECT argument FROM mysql.general_log").splitlines()
        self.assertIn("SET SESSION wsrep_sync_wait = 1", said)

    def test_a_fault_of_the_drivers_own(self) -> None:
        """An account with ed25519, for which PyMySQL needs a library: the store is unavailable."""
        if find_spec("nacl") is not None:
            cannot_test("PyNaCl is installed, so there is nothing that PyMySQL misses")
        self.database.run("INSTALL SONAME 'auth_ed25519'")
        self.addCleanup(self.database.run, "UNINSTALL SONAME 'auth_ed25519'")
        login = "IDENTIFIED VIA ed25519 USING PASSWORD('hunter2')"
        self.database.run(f"CREATE USER modern@localhost {login}")
        self.addCleanup(self.database.run, "DROP USER modern@localhost")
        self.database.run("GRANT ALL ON nova.* TO modern@localhost")
        self.open_gateway(self.database.url_of("nova", "modern:hunter2"))
        with ScriptedBrowser(f"{self.gateway.url}/console?path=%3Ftoken%3Dx") as browser:
            self.assertIn("can't check console links now", browser.read_refusal())
        self.gateway.program.wait_for("store-unavailable .*pynacl")
        for _ in range(2):
            self.assertEqual(self.readyz(), (503, "database"))
        found = self.findings()
        self.assertFalse(found["database"][0])
        self.assertIn("pynacl", found["database"][1])
        self.assertTrue(found["VNC servers"][0] and found["noVNC"][0] and found["limits"][0])
        for said in (self.gateway.log, str(found)):
            self.assertNotIn("Traceback", said)
            self.assertNotIn("hunter2", said)
