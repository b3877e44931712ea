"""A gateway whose Galera node lags behind the one where nova has just written a token."""

from __future__ import annotations

import contextlib
import getpass
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pymysql
from twisted.trial.unittest import SynchronousTestCase

from tests.e2e import fake_targets
from tests.e2e.browser import ScriptedBrowser
from tests.e2e.fake_targets import FakeTarget
from tests.e2e.galera import Cluster
from tests.e2e.programs import Gateway, becomes_true, issue_token


class GaleraTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.cluster = Cluster()
        self.addCleanup(self.cluster.remove)
        self.cluster.first.run("CREATE DATABASE nova CHARACTER SET utf8")
        self.target = FakeTarget(fake_targets.echo)
        self.addCleanup(self.target.stop)

    def gateway(self, more: str) -> Gateway:
        """Start a gateway that asks the second node."""
        gateway = Gateway({}, database=self.cluster.second.url, more=f"[database]\n{more}")
        self.addCleanup(gateway.stop)
        return gateway

    @contextlib.contextmanager
    def lagging(self) -> Iterator[None]:
        """Let the second node apply nothing that the first one writes."""
        socket = str(self.cluster.second.socket)
        holder = pymysql.connect(unix_socket=socket, user=getpass.getuser())
        try:
            holder.cursor().execute("FLUSH TABLES WITH READ LOCK")
            yield
        finally:
            holder.close()

    def made_by_the_first(self, gateway: Gateway) -> str:
        """Return a console's URL whose token was written to the first node."""
        config = gateway.directory / "first.conf"
        second, first = self.cluster.second.url, self.cluster.first.url
        config.write_text(gateway.config_file.read_text().replace(second, first))
        return issue_token(config, self.target.port)

    def opened(self, url: str) -> bytes:
        with ScriptedBrowser(url) as browser:
            return browser.open_console()

    def waits(self) -> bool:
        """Return whether the second node makes a question of the gateway's wait."""
        asked = "SELECT COUNT(*) FROM information_schema.processlist WHERE user = 'nova'"
        return self.cluster.second.run(f"{asked} AND info LIKE 'SELECT%tokens%'").strip() == "1"

    def test_a_token_of_the_other_node(self) -> None:
        """With mysql_wsrep_sync_wait it is waited for; without, it is not known yet."""
        hasty, patient = self.gateway(""), self.gateway("mysql_wsrep_sync_wait = 1\n")
        self.assertEqual(patient.command("database", "create").returncode, 0)
        with ThreadPoolExecutor(1) as pool:
            with self.lagging():
                with ScriptedBrowser(self.made_by_the_first(hasty)) as browser:
                    self.assertIn("has expired", browser.read_refusal())
                opening = pool.submit(self.opened, self.made_by_the_first(patient))
                self.assertTrue(becomes_true(self.waits))
            self.assertEqual(opening.result(), fake_targets.SERVER_INIT)
