"""Credentials at rest: only the token opens them."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import create_engine, text
from twisted.trial.unittest import SynchronousTestCase

from tests.helpers import grant_for
from vncproxy.model import Credentials, Token
from vncproxy.tokens.issue import TokenIssuer
from vncproxy.tokens.sealed import seal, unseal
from vncproxy.tokens.table import TokenTable


class SealTests(SynchronousTestCase):
    @given(st.text(), st.none() | st.text())
    def test_round_trip(self, password: str, username: str | None) -> None:
        """Whatever was sealed comes back, for the same token only."""
        token, credentials = Token.new(), Credentials(password, username)
        sealed = seal(credentials, token)
        self.assertEqual(unseal(sealed, token), credentials)
        self.assertIsNone(unseal(sealed, Token.new()))


class StoredCredentialsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = Path(self.mktemp()).absolute()
        self.engine = create_engine(f"sqlite:///{self.path}")
        self.addCleanup(self.engine.dispose)
        self.table = TokenTable(self.engine, lambda: 1000.0)
        self.table.create()

    def count(self) -> int:
        with self.engine.connect() as connection:
            query = text("SELECT count(*) FROM vncproxy_token_credentials")
            return int(connection.execute(query).scalar() or 0)

    def test_they_come_with_the_grant(self) -> None:
        """The gateway gets them with the token, and the file does not show them."""
        issuer = TokenIssuer(self.table, lambda: 1000.0, {"novnc": "http://h/"})
        issued = issuer.issue("novnc", "h", 1, "i", 60, Credentials("pa55word", "kim"))
        found = self.table.find(issued.token)
        self.assertEqual(found.credentials, Credentials("pa55word", "kim"))
        self.assertNotIn("pa55word", repr(found))
        self.engine.dispose()
        self.assertNotIn(b"pa55word", self.path.read_bytes())

    def test_they_go_with_the_token(self) -> None:
        """Revoked, purged, or deleted by nova."""
        tokens = [Token.new() for _ in range(3)]
        for token, expires in zip(tokens, (1, 2000, 2000), strict=True):
            sealed = seal(Credentials("p"), token)
            self.table.add(grant_for(token, expires=expires), sealed)
        self.assertEqual(self.count(), 3)
        self.table.purge()
        self.assertEqual(self.count(), 2)
        self.table.revoke(tokens[1].hash)
        self.assertEqual(self.count(), 1)
        with self.engine.begin() as connection:
            connection.execute(text("DELETE FROM console_auth_tokens"))
        self.table.purge()
        self.assertEqual(self.count(), 0)

    def test_a_database_of_nova_s(self) -> None:
        """Without our table there are none, and nothing fails."""
        with self.engine.begin() as connection:
            connection.execute(text("DROP TABLE vncproxy_token_credentials"))
        table = TokenTable(self.engine, lambda: 1000.0)
        token = Token.new()
        table.add(grant_for(token))
        self.assertIsNone(table.find(token).credentials)
        self.assertEqual(table.revoke(token.hash), 1)
