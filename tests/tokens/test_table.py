"""The token table on SQLite: what opens a console, and what does not any more."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path

from sqlalchemy import Engine, create_engine
from twisted.trial.unittest import SynchronousTestCase

from tests.helpers import grant_for
from vncproxy.config.read import ConfigError, read_settings
from vncproxy.errors import StoreUnavailable, TokenExpired, TokenInvalid
from vncproxy.model import Token
from vncproxy.tokens.engine import open_database
from vncproxy.tokens.table import TokenTable

_NOW = 1_700_000_000


class TableTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = Path(self.mktemp()).absolute()
        self.engine: Engine = create_engine(f"sqlite:///{self.path}")
        self.addCleanup(self.engine.dispose)
        self.now = float(_NOW)
        self.table = TokenTable(self.engine, lambda: self.now)
        self.table.create()


class TokenTableTests(TableTestCase):
    def test_a_token_opens_what_it_was_made_for(self) -> None:
        """Every column of the row comes back."""
        token = Token.new()
        grant = grant_for(token, internal_access_path="/console/7", host="::1")
        self.table.add(grant)
        self.assertEqual(self.table.find(token), grant)

    def test_the_token_itself_is_nowhere(self) -> None:
        """The file holds the hash, as nova's does, and not the token."""
        token = Token("6f1c2d3e-4b5a-4c6d-8e7f-0123456789ab")
        self.table.add(grant_for(token))
        self.engine.dispose()
        stored = self.path.read_bytes()
        self.assertNotIn(token.text.encode(), stored)
        known = b"6d77e6430eb675e828bc2ba78717ba2b78db671b59e6e9042e850f20437d55d0"
        self.assertIn(known, stored)

    def test_an_unknown_token(self) -> None:
        """Whatever was never issued opens nothing, odd characters included."""
        for text in ("", "x", "%00", "' OR 1=1 --", "\udcff", "\U0001f512", "x" * 1_000_000):
            with self.assertRaises(TokenInvalid):
                self.table.find(Token(text))

    def test_a_token_expires(self) -> None:
        """From the second in `expires` on a token is worthless, not only after it."""
        token = Token.new()
        self.table.add(grant_for(token, expires=_NOW + 10))
        self.now = _NOW + 9.9
        self.table.find(token)
        self.now = _NOW + 10.0
        with self.assertRaises(TokenExpired):
            self.table.find(token)

    def test_revoke(self) -> None:
        """A token is revoked by the beginning of its hash, and no other with it."""
        token, other = Token.new(), Token.new()
        self.table.add(grant_for(token))
        self.table.add(grant_for(other))
        self.assertEqual(self.table.revoke(token.id), 1)
        with self.assertRaises(TokenInvalid):
            self.table.find(token)
        self.table.find(other)
        self.assertEqual(self.table.revoke("%"), 0)

    def test_purge(self) -> None:
        """Only what has expired is removed."""
        old, new = Token.new(), Token.new()
        self.table.add(grant_for(old, expires=_NOW))
        self.table.add(grant_for(new, expires=_NOW + 1))
        self.assertEqual(self.table.purge(), 1)
        self.assertEqual([grant.token_id for grant in self.table.live()], [new.id])
        with self.assertRaises(TokenInvalid):
            self.table.find(old)

    def test_standing(self) -> None:
        """Those that have rows, expired or not; however many are asked about."""
        tokens = [Token(str(number)) for number in range(2500)]
        for token in (tokens[0], tokens[1], tokens[2499]):
            self.table.add(grant_for(token, expires=_NOW - 1))
        self.table.revoke(tokens[1].hash)
        standing = self.table.standing([token.hash for token in tokens])
        self.assertEqual(standing, {tokens[0].hash, tokens[2499].hash})
        self.assertEqual(self.table.standing([]), frozenset())

    def test_live_rows_in_the_order_of_their_end(self) -> None:
        """The list leaves the expired out."""
        ends = [_NOW + 30, _NOW - 1, _NOW + 20]
        for expires in ends:
            self.table.add(grant_for(Token.new(), expires=expires))
        self.assertEqual([grant.expires for grant in self.table.live()], [_NOW + 20, _NOW + 30])

    def test_a_hash_is_stored_once(self) -> None:
        """A token that is already there is an error, whose text holds no values."""
        token = Token.new()
        self.table.add(grant_for(token))
        with self.assertRaises(StoreUnavailable) as caught:
            self.table.add(replace(grant_for(token), host="secret.example"))
        self.assertNotIn("secret.example", str(caught.exception))

    def test_without_tls_port(self) -> None:
        """Nova's databases before 31.0.0 have no such column."""
        token = Token.new()
        self.table.add(grant_for(token))
        with sqlite3.connect(self.path) as database:
            database.execute("ALTER TABLE console_auth_tokens DROP COLUMN tls_port")
        self.table.find(token)

    def test_a_database_without_the_table(self) -> None:
        """The check says what is missing and what to do."""
        engine = create_engine("sqlite://")
        self.addCleanup(engine.dispose)
        with self.assertRaises(StoreUnavailable) as caught:
            TokenTable(engine, lambda: _NOW).check()
        self.assertIn("vncproxy database create", str(caught.exception))
        self.table.check()


class DatabaseTests(SynchronousTestCase):
    def open_with(self, connection: str) -> Engine:
        path = Path(self.mktemp())
        path.write_text(f"[database]\nconnection = {connection}\n")
        engine = open_database(read_settings([f"--config-file={path}"], "test"))
        self.addCleanup(engine.dispose)
        return engine

    def test_the_embedded_database(self) -> None:
        """It is made in a private directory, and in WAL mode: readers and writers don't wait."""
        state = Path(self.mktemp()).absolute()
        settings = read_settings([f"--vncproxy-state_path={state}"], "test")
        engine = open_database(settings)
        self.addCleanup(engine.dispose)
        with engine.connect() as connection:
            mode = connection.exec_driver_sql("PRAGMA journal_mode").scalar()
        self.assertEqual(mode, "wal")
        self.assertEqual(state.stat().st_mode & 0o777, 0o700)

    def test_no_url(self) -> None:
        """What is no URL is refused by name, without its text."""
        with self.assertRaises(ConfigError) as caught:
            self.open_with("hunter2")
        self.assertIn("[database] connection", str(caught.exception))
        self.assertNotIn("hunter2", str(caught.exception))

    def test_a_missing_driver(self) -> None:
        """A driver that is not installed is named."""
        with self.assertRaises(ConfigError) as caught:
            self.open_with("mysql+oursql://nova:pw@db/nova")
        self.assertNotIn("pw", str(caught.exception))

    def test_a_dead_server(self) -> None:
        """A database that refuses connections says so; the password is not part of it."""
        engine = self.open_with("mysql+pymysql://nova:hunter2@127.0.0.1:1/nova")
        with self.assertRaises(StoreUnavailable) as caught:
            TokenTable(engine, lambda: _NOW).find(Token.new())
        self.assertIn("refused", str(caught.exception))
        self.assertNotIn("hunter2", str(caught.exception))
