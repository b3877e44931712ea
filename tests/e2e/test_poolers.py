"""The token database on PostgreSQL behind PgBouncer, in the two modes that people run it in."""

from __future__ import annotations

import signal
from functools import partial

from twisted.trial.unittest import SynchronousTestCase

from tests.e2e import fake_targets
from tests.e2e.at_once import OPEN, AtOnce
from tests.e2e.browser import ScriptedBrowser, websocket_url
from tests.e2e.fake_targets import FakeTarget
from tests.e2e.programs import Gateway, becomes_true
from tests.openstack.pgbouncer import PgBouncer
from tests.openstack.postgresql import PostgreSql, shared_server

_AT_ONCE = 80


class SessionModeTests(SynchronousTestCase):
    """A client has a connection of the server's for as long as it has its own."""

    mode = "session"
    most = 25  # no client of this mode gets another's, and the gateway has up to 20 threads

    def setUp(self) -> None:
        self.server: PostgreSql = shared_server()
        self.server.run("DROP DATABASE IF EXISTS tokens WITH (FORCE)")
        self.server.run("CREATE DATABASE tokens")
        self.pooler = PgBouncer(self.server, self.mode, self.most)
        self.addCleanup(self.pooler.remove)
        self.target = FakeTarget(fake_targets.echo)
        self.addCleanup(self.target.stop)

    def open_gateway(self, query: str = "") -> str:
        """Start a gateway whose database is behind the pooler; return the URL of a console."""
        url = self.pooler.url_of("tokens") + query
        options = dict.fromkeys(("max_sessions_per_token", "max_sessions_per_instance"), 0)
        self.gateway = Gateway({"database_timeout": 2, **options}, database=url)
        self.addCleanup(self.gateway.stop)
        made = self.gateway.command("database", "create")
        self.assertEqual((made.returncode, made.stderr), (0, ""))
        return self.gateway.console_url(self.target.port)

    def test_many_openings(self) -> None:
        """Each one opens, and no statement is left prepared on a server's connection."""
        url = self.open_gateway()
        for _ in range(3):
            clients = AtOnce([("127.0.0.1", websocket_url(url))] * _AT_ONCE)
            clients.settle(self.gateway, still_open=_AT_ONCE)
            self.assertEqual(clients.outcomes, {OPEN: _AT_ONCE})
        self.assertNotIn("store-unavailable", self.gateway.log)
        self.assertNotIn("Traceback", self.gateway.log)
        self.assertEqual(self.gateway.command("check", "--json").stderr, "")

    def test_statements_end_in_time(self) -> None:
        """By the server's own time-out, which is set where the statement is, and nowhere else."""
        url = self.open_gateway()
        with self.server.lock("tokens", "console_auth_tokens"):
            with ScriptedBrowser(url) as browser:
                self.assertIn("can't check console links now", browser.read_refusal())
            waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            self.assertTrue(becomes_true(lambda: self.server.run(waiting) == "0"))
        self.assertTrue(becomes_true(partial(self.opens, url)))

    def test_a_pooler_that_freezes(self) -> None:
        """Users are told in time, all is well when it goes on, and it keeps no stop waiting."""
        url = self.open_gateway()
        self.assertTrue(self.opens(url))
        self.pooler.signal(signal.SIGSTOP)
        self.addCleanup(self.pooler.signal, signal.SIGCONT)
        with ScriptedBrowser(url) as browser:
            self.assertIn("can't check console links now", browser.read_refusal())
        self.pooler.signal(signal.SIGCONT)
        self.assertTrue(becomes_true(partial(self.opens, url)))
        self.pooler.signal(signal.SIGSTOP)
        with ScriptedBrowser(url) as browser:
            browser.read_refusal()
        self.gateway.program.terminate()
        self.assertEqual(self.gateway.program.wait(), -signal.SIGTERM)

    def opens(self, url: str) -> bool:
        with ScriptedBrowser(url) as browser:
            browser.write_version()
            return browser.read(1) == b"\x01"


class TransactionModeTests(SessionModeTests):
    """Each transaction gets another connection of the server's, of which there are few."""

    mode = "transaction"
    most = 3

    def test_prepared_statements_on_demand(self) -> None:
        """The URL may ask for them; then this pooler, which knows none, breaks them."""
        url = self.open_gateway("?prepare_threshold=0")
        AtOnce([("127.0.0.1", websocket_url(url))] * _AT_ONCE).settle(self.gateway, _AT_ONCE)
        self.gateway.program.wait_for("store-unavailable .*prepared statement")
